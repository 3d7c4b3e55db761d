"""One file a command: options, one call of the library, one result."""
