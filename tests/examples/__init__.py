"""The worked examples, tested as a reader would run them."""
