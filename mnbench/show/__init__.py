"""Tables and progress for people, formats for machines."""
