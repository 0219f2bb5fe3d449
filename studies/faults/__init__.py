"""Breaking studies on purpose: `lanewise sweep campaign`."""
