"""An example of an extension of Weir."""
