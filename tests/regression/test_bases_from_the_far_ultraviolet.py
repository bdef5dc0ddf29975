"""A base in air whose wavelengths begin below 2000 Angstrom ended in a ValueError."""

import numpy as np

import betis
from betis.products import Templates
from betis.wavelength import air_to_vacuum, vacuum_to_air


def test_air_and_vacuum_keep_their_order_into_the_far_ultraviolet():
    wave = np.geomspace(90.0, 1e6, 20000)
    for convert in (vacuum_to_air, air_to_vacuum):
        assert np.all(np.diff(convert(wave)) > 0)
    np.testing.assert_allclose(vacuum_to_air(air_to_vacuum(wave)), wave, rtol=1e-12)


def test_a_base_in_air_that_begins_at_91_angstrom_fits():
    wave = np.concatenate([np.arange(91.0, 3000.0, 3.0), np.arange(3000.0, 9000.0, 1.0), [1.6e6]])
    lines = 1 - 0.3 * np.exp(-0.5 * ((wave[:, None] - np.arange(4000.0, 8000.0, 90.0)) / 4) ** 2)
    base = Templates(
        wave=wave,
        flux=lines.prod(axis=1)[None],
        age=np.array([1e9]),
        metallicity=np.array([0.02]),
        mass_fraction=np.ones(1),
        medium="air",
        fwhm=np.full(wave.size, 2.0),
        name="from the far ultraviolet",
        source="",
    )
    axis = np.arange(5000.0, 6500.0, 1.25)
    flux = np.interp(axis / (1 + 100.0 / 299792.458), wave, base.flux[0])[None]
    spectra = betis.Spectra(axis, flux, np.full_like(flux, 0.01), lsf=np.full(axis.size, 2.5))
    fit = betis.fit_continuum(spectra, base, mask_lines=False)
    assert abs(fit.velocity[0] - 100.0) < 5.0
