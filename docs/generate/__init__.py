"""What in docs/ is made from the code: pages of reference and pictures. `python -m docs.generate` makes them again."""
