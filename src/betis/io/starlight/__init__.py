"""The files of the STARLIGHT code: grid, configuration, mask, base, spectra and outputs."""
