"""Tables, figures and the report page of a study; reads records only and knows nothing of training."""
