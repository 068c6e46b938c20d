"""The command line: one thin module per group of verbs, imported only when its verb is used."""
