"""A sample of galaxies: a row of a catalogue each, a process each, one table of all."""
