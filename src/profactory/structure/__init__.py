"""Structure strings from coordinates: 3Di, secondary structure, accessibility; joined to a table by id."""
