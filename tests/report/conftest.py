"""A synthetic run on a small field, made without any stage of the pipeline."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from betis.derived import derive
from betis.flags import Flag
from betis.linelist import load_line_set
from betis.lsf import FWHM_PER_SIGMA, muse_fwhm
from betis.options import DerivedOptions
from betis.products import BinMap, ContinuumFit, LineFit, Sky, SnrMap, Spectra
from betis.report import ReportContent
from betis.report.write import make_html
from betis.wavelength import C_KMS

REDSHIFT = 0.0264
SHAPE = (30, 30)
TARGET = 10.0
RATIO = {
    "Ha6563": 1.0,
    "Hb4861": 0.31,
    "Hg4340": 0.14,
    "OIII5007": 0.35,
    "OIII4959": 0.12,
    "NII6583": 0.40,
    "NII6548": 0.13,
    "SII6716": 0.22,
    "SII6731": 0.16,
    "OI6300": 0.03,
    "HeI5876": 0.03,
}


def make_sky(shape=SHAPE):
    ny, nx = shape
    cards = {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        "CRVAL1": 150.1,
        "CRVAL2": 2.2,
        "CRPIX1": nx / 2,
        "CRPIX2": ny / 2,
        "PC1_1": -0.2 / 3600,
        "PC2_2": 0.2 / 3600,
        "CDELT1": 1.0,
        "CDELT2": 1.0,
    }
    return Sky(shape=shape, wcs=cards, flux_scale=1e-20)


def make_bins(signal, noise, largest):
    """Squares of 1, 2 or 4 spaxels a side, small ones in the middle; corners are outside."""
    ny, nx = signal.shape
    y, x = np.mgrid[:ny, :nx]
    radius = np.hypot(y - ny / 2, x - nx / 2) / min(ny, nx)
    side = np.where(radius < 0.12, 1, np.where(radius < 0.3, 2, 4))
    block = np.maximum.reduceat(
        np.maximum.reduceat(side, np.arange(0, ny, 4), 0), np.arange(0, nx, 4), 1
    )
    side = np.minimum(block.repeat(4, 0).repeat(4, 1)[:ny, :nx], largest)
    label = (side * 10_000 + y // side) * 10_000 + x // side
    field = (radius < 0.62) & np.isfinite(signal)
    bin_id = np.full(signal.shape, -1, np.int32)
    bin_id[field] = np.unique(label[field], return_inverse=True)[1]
    count = np.bincount(bin_id[field])
    snr = np.bincount(bin_id[field], signal[field]) / np.sqrt(
        np.bincount(bin_id[field], noise[field] ** 2)
    )
    return BinMap(
        bin_id=bin_id,
        n_spaxel=count.astype(np.int32),
        snr=snr,
        flags=np.where(snr < TARGET, Flag.LOW_SNR, 0).astype(np.int32),
        target=TARGET,
        margin=1.0,
        snr_measured=snr * (0.98 + 0.02 * np.sin(np.arange(snr.size))),
    )


def stellar_shape(wave):
    """A smooth spectrum with a few broad absorption lines."""
    slope = 1.1 - 0.25 * (wave - 5500) / 3000
    for center, depth in [(4861, 0.15), (5175, 0.2), (5270, 0.1), (5893, 0.15), (6563, 0.1)]:
        slope -= depth * np.exp(-0.5 * ((wave - center) / 8) ** 2)
    return slope


def make_lines(bins, amplitude, velocity, spectra, line_set, noise):
    names = tuple(line.name for line in line_set.lines)
    n_bin, n_line = bins.n_bin, len(names)
    rest = line_set.waves(spectra.medium, spectra.redshift)
    inside = (rest > spectra.wave[0]) & (rest < spectra.wave[-1])
    ratio = np.array([RATIO.get(name, 0.004) for name in names])
    rng = np.random.default_rng(5)
    excitation = np.exp(rng.normal(0, 0.25, n_bin))
    boost = np.where([name.startswith("OIII") for name in names], excitation[:, None], 1.0)
    flux_err = np.where(inside, (4 * noise * np.sqrt(bins.n_spaxel))[:, None], np.nan)
    flux = amplitude[:, None] * ratio * boost + flux_err * rng.normal(size=(n_bin, n_line))
    sigma = np.where(inside, 45 + 10 * rng.random((n_bin, 1)), np.nan)
    lsf = np.interp(rest, spectra.wave, spectra.lsf) / FWHM_PER_SIGMA
    sigma_obs = np.hypot(sigma / C_KMS * rest, lsf)
    place = np.where(inside, rest * (1 + velocity[:, None] / C_KMS), np.nan)
    snr = flux / flux_err
    flags = np.where(inside, np.where(snr < 3, Flag.NOT_DETECTED, 0), Flag.NO_DATA)
    group = (np.arange(n_line) // 3).astype(np.int32)
    n_group = int(group[-1]) + 1
    return LineFit(
        names=names,
        flux=flux,
        flux_err=flux_err,
        velocity=np.where(inside, velocity[:, None] + rng.normal(0, 4, (n_bin, n_line)), np.nan),
        velocity_err=np.full((n_bin, n_line), 4.0),
        sigma=sigma,
        sigma_err=np.full((n_bin, n_line), 5.0),
        sigma_obs=sigma_obs,
        amplitude=flux / (sigma_obs * np.sqrt(2 * np.pi)),
        wave_obs=place,
        ew=flux / (bins.n_spaxel * 60.0)[:, None],
        ew_err=flux_err / (bins.n_spaxel * 60.0)[:, None],
        flux_direct=flux,
        snr=snr,
        upper_limit=3 * flux_err,
        flags=flags.astype(np.int32),
        group=group,
        chi2=rng.chisquare(50, (n_bin, n_group)),
        dof=np.full((n_bin, n_group), 50.0),
        bic=np.zeros((n_bin, n_group)),
        n_iter=np.full((n_bin, n_group), 9, np.int32),
        background=np.zeros((n_bin, n_group, 2)),
        background_wave=np.linspace(4000, 9000, n_group),
        sky=spectra.sky,
    )


def line_profiles(lines, wave):
    """Sum of all Gaussians; lines that are NaN are left out."""
    model = np.zeros((len(lines.wave_obs), wave.size))
    for line in range(lines.wave_obs.shape[1]):
        z = (wave - lines.wave_obs[:, line, None]) / lines.sigma_obs[:, line, None]
        model += np.nan_to_num(lines.amplitude[:, line, None] * np.exp(-0.5 * z**2))
    return model


def make_continuum(spectra, bins, model, velocity, rng):
    n_bin = bins.n_bin
    zeros = np.zeros(n_bin)
    used = ~spectra.mask & ~((spectra.wave > 6520) & (spectra.wave < 6750))
    return ContinuumFit(
        model=model,
        velocity=velocity + rng.normal(0, 6, n_bin),
        velocity_err=zeros + 6,
        sigma=rng.normal(90, 10, n_bin),
        sigma_err=zeros + 8,
        av=np.abs(rng.normal(0.5, 0.2, n_bin)),
        av_err=zeros + 0.05,
        weights=np.ones((n_bin, 3)) / 3,
        chi2=rng.chisquare(500, n_bin),
        dof=zeros + 500,
        flags=np.where(rng.random(n_bin) < 0.05, Flag.AT_BOUND, 0).astype(np.int32),
        mean_log_age_light=zeros + 9.5,
        mean_log_age_mass=zeros + 9.8,
        mean_metallicity_light=zeros - 1.8,
        mean_metallicity_mass=zeros - 1.7,
        used=used,
    )


def derive_from(lines, bins):
    """What follows from these lines, on spaxels of 0.2 arcsec."""
    dust = np.linspace(1.5, 0.4, len(lines.names))
    return derive(lines, DerivedOptions(), dust=dust, area=0.04 * bins.n_spaxel)


def make_content(shape=SHAPE, *, seed=1, step=1.25, spaxels=False):
    """A galaxy on a field of this shape; every spaxel a bin where ``spaxels`` is True."""
    rng = np.random.default_rng(seed)
    (ny, nx), sky, line_set = shape, make_sky(shape), load_line_set("standard")
    y, x = np.mgrid[:ny, :nx] / min(ny, nx) - 0.5
    radius = np.hypot(y, x)
    surface = 400 * np.exp(-radius / 0.2) + 4
    noise_map = np.full(shape, 4.0)
    signal = 0.2 * surface * (1 + 0.5 * np.sin(9 * x) * np.sin(11 * y))
    signal = signal + rng.normal(0, 4, shape)
    signal[radius > 0.66] = np.nan
    bins = make_bins(signal, noise_map, largest=1 if spaxels else 4)
    wave = np.arange(4750.0, 9350.0, step) / (1 + REDSHIFT)
    lsf = muse_fwhm(wave * (1 + REDSHIFT)) / (1 + REDSHIFT)
    inside = bins.bin_id >= 0
    light = np.bincount(bins.bin_id[inside], surface[inside])
    spin = np.bincount(bins.bin_id[inside], (150 * x)[inside]) / bins.n_spaxel
    model = 0.25 * light[:, None] * stellar_shape(wave)
    error = np.sqrt(bins.n_spaxel)[:, None] * 3 * np.ones(wave.size)
    mask = np.broadcast_to((wave > 7400) & (wave < 7440), error.shape)
    blank = Spectra(
        wave,
        model,
        error,
        mask=mask,
        lsf=lsf,
        redshift=REDSHIFT,
        n_spaxel=bins.n_spaxel,
        sky=sky,
    )
    lines = make_lines(bins, 1.5 * light, spin, blank, line_set, 3.0)
    flux = model + line_profiles(lines, wave) + rng.normal(size=model.shape) * error
    spectra = replace(blank, flux=flux)
    return ReportContent(
        title="Mock galaxy <1> & friends",
        facts={
            "file": "mock.fits",
            "instrument": "MUSE",
            "size": f"{nx} × {ny} spaxels, {wave.size} pixels",
            "redshift": f"{REDSHIFT}",
            "A_V": "0.12 mag",
            "medium": "air",
        },
        settings={"snr.line": "SII6716", "binning.target": "10.0"},
        cube_image=np.where(np.isfinite(signal), surface + rng.normal(0, 1, shape), np.nan),
        snr=SnrMap(
            signal=signal,
            noise=np.where(np.isfinite(signal), noise_map, np.nan),
            continuum=surface,
            line="SII6716",
            method="matched",
        ),
        bins=bins,
        spectra=spectra,
        continuum=make_continuum(spectra, bins, model, spin, rng),
        lines=lines,
        derived=derive_from(lines, bins),
        line_set=line_set,
        sky=sky,
        model_lines=lambda rows: line_profiles(lines.take(rows), wave),
        timings={"snr": 0.8, "stack": 0.5, "continuum": 31.0, "lines": 7.5},
        warnings=("The cube gives no <unit>; the instrument's was assumed.",),
        recovery=(("quantity", "bins", "median pull"), ("flux of Ha6563", "80", "0.02")),
    )


@pytest.fixture(scope="session")
def make():
    return make_content


@pytest.fixture(scope="session")
def content():
    return make_content()


@pytest.fixture(scope="session")
def small():
    """A run of few bins on a coarse axis, quick to draw."""
    return make_content((8, 8), step=5.0)


@pytest.fixture(scope="session")
def html(content):
    return make_html(content)


@pytest.fixture(scope="session")
def parse():
    """Parse a page, or a part of one, as strictly as XML asks for."""
    return lambda text: ET.fromstring(f"<all>{text.removeprefix('<!DOCTYPE html>')}</all>")
