"""Tables of text in, frozen values out."""
