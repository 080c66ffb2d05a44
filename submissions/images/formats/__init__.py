"""How is a file of one family read? A module a family, and one table that says which reads what (`table.FORMATS`)."""
