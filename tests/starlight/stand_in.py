"""A stand-in for STARLIGHT v04: it obeys the formats, and "fits" a running mean.

It reads the configuration by the numbers of its lines, as the Fortran does, and stops at what the
Fortran would stop at. A file ``behaviour.json`` in the folder it is started in tells it to
misbehave: for names of spectra "crash", "hang", "placeholder", "abort" or "cut". What it was
called for is in ``calls.txt``.
"""

import json
import os
import sys
import time
from pathlib import Path

CONFIG_LINES = {"norm": 6, "low": 7, "upp": 8, "clip": 29, "cushion": 35, "header": 39}
HALF_WIDTH = 6
WAITING = "This file will be overwritten in a few minutes...\n"
POPULATION = (
    "# j     x_j(%)      Mini_j(%)     Mcor_j(%)     age_j(yr)     Z_j      (L/M)_j    YAV?  "
    "Mstars   component_j        a/Fe...       SSP_chi2r SSP_adev(%)   SSP_AV   SSP_x(%)"
)
SHARES = {0: (60.0, 10.0), 1: (40.0, 90.0)}
"""Percent of light and mass of the components that have any."""
HEADER = """\
###################################################################
## OUTPUT of StarlightChains_v04.for    [Cid@UFSC - 01/Apr/2007] ##
###################################################################

## Some input info
{obs:<40s} [arq_obs]
{base:<40s} [arq_base]
{mask:<40s} [arq_masks]
{config:<40s} [arq_config]
{n_base:5d}                                    [N_base]
    0                                    [N_YAV_components = # of components with extra extinction!]
    0                                    [i_FitPowerLaw (1/0 = Yes/No)]
-9.99                                    [alpha_PowerLaw]
{law:<40s} [red_law_option]
 1.458241                                [q_norm = A(l_norm)/A(V)]

## (Re)Sampling Parameters
{ini:8.2f}                                 [l_ini (A)]
{fin:8.2f}                                 [l_fin (A)]
{step:8.2f}                                 [dl    (A)]     (OBS: dl_cushion =    50.00 A)

## Normalization info
{norm:8.2f}                                 [l_norm (A) - for base]
{low:8.2f}                                 [llow_norm (A) - window for f_obs]
{upp:8.2f}                                 [lupp_norm (A) - window for f_obs]
{unit:12.6E}                             [fobs_norm (in input units)]

## etc...
{seed:12d}                             [idum_orig]
{n_tried:6d}                                   [NOl_eff]
{n_used:6d}                                   [Nl_eff]
{n_clipped:6d}    NSIGMA                         [Ntot_cliped & clip_method]

## Synthesis Results - Best model ##

{chi2:12.5E}                             [chi2/Nl_eff]
     1.00000                             [adev (%)]

   100.00000                             [sum-of-x (%)]
{unit:12.5E}                             [Flux_tot (units of input spectrum!)]
 1.00000E-09                             [Mini_tot (???)]
 1.00000E-09                             [Mcor_tot (???)]

{velocity:7.2f}                                  [v0_min  (km/s)]
{sigma:7.2f}                                  [vd_min  (km/s)]
 0.2500                                  [AV_min  (mag)]
 0.0000                                  [YAV_min (mag)]

"""


def lines_of(path):
    return Path(path).read_text(encoding="latin-1").splitlines()


def numbers(lines, count=None):
    return [[float(word) for word in line.split()[:count]] for line in lines]


class Grid:
    """A grid file, and everything that is wrong with it."""

    def __init__(self, text):
        lines = text.splitlines()
        value = [line.split()[0] for line in lines[:15]]
        for folder in value[1:5]:
            assert folder.endswith("/"), folder
            assert len(folder) <= 100, folder
        self.base_dir, self.obs_dir, self.mask_dir, self.out_dir = value[1:5]
        self.seed, self.kinematics = int(value[5]), value[12]
        snr_low, snr_upp, self.low, self.upp, self.step = map(float, value[6:11])
        assert self.low <= snr_low < snr_upp <= self.upp
        assert value[13:15] == ["1", "1"], "errors and flags"
        self.fits = [line.split() for line in lines[15:]]
        assert len(self.fits) == int(value[0]), "number of fits"


def read_base(path, grid, cushion):
    first, *rows = lines_of(path)
    base = [row.split() for row in rows[: int(first.split()[0])]]
    for row in base:
        spectrum = lines_of(grid.base_dir + row[0])
        low, upp = float(spectrum[0].split()[0]), float(spectrum[-1].split()[0])
        assert low <= grid.low - cushion, f"{row[0]} begins at {low}"
        assert upp >= grid.upp + cushion, f"{row[0]} ends at {upp}"
    return base


def read_pixels(path, grid, skip):
    """Return the pixels of the fit; those beyond the data are flagged."""
    table = numbers(lines_of(path)[skip:])
    assert all(len(row) == 4 for row in table)
    known = {round(row[0] / grid.step): row for row in table}
    places = range(round(grid.low / grid.step), round(grid.upp / grid.step) + 1)
    return [known.get(place, [place * grid.step, 0.0, 0.0, 99]) for place in places]


def read_weights(path, pixels):
    first, *rows = lines_of(path)
    windows = numbers(rows[: int(first.split()[0])], 3)
    weights = []
    for wave, _, error, flag in pixels:
        factor = ([1.0] + [weight for low, upp, weight in windows if low <= wave <= upp])[-1]
        weights.append(-2.0 if flag > 1 or error <= 0 else factor / error)
    return weights


def running_mean(flux, good):
    total, count = [0.0], [0]
    for value, is_good in zip(flux, good, strict=True):
        total.append(total[-1] + value * is_good)
        count.append(count[-1] + is_good)
    means = []
    for place in range(len(flux)):
        low, upp = max(0, place - HALF_WIDTH), min(len(flux), place + HALF_WIDTH + 1)
        n_good = count[upp] - count[low]
        means.append((total[upp] - total[low]) / n_good if n_good else total[-1] / count[-1])
    return means


def synthesise(pixels, weights, setting):
    """Return fobs_norm, and observed flux, model and weights in units of it."""
    known = zip(pixels, weights, strict=True)
    low, upp = setting["low"], setting["upp"]
    near = sorted(row[1] for row, weight in known if low <= row[0] <= upp and weight > 0)
    unit = near[len(near) // 2]
    assert unit > 0, "fobs_norm"
    flux = [row[1] / unit for row in pixels]
    weights = [weight * unit if weight > 0 else weight for weight in weights]
    weights = [0.0 if w > 0 and f <= 0.001 else w for f, w in zip(flux, weights, strict=True)]
    model = running_mean(flux, [weight > 0 for weight in weights])
    weights = [
        -1.0 if w > 0 and abs(f - m) * w > setting["clip"] else w
        for f, m, w in zip(flux, model, weights, strict=True)
    ]
    return unit, flux, model, weights


def column(value, width, digits):
    text = f"{value:{width}.{digits}f}"
    return text if len(text) <= width else "*" * width


def population(base):
    rows = [POPULATION]
    for number, (_, age, metallicity, code, mass, *_) in enumerate(base):
        light, share = SHARES.get(number, (0.0, 0.0))
        rows.append(
            f"{number + 1:3d} {light:11.4f}   {share:12.4E}  {share:12.4E}  {float(age):13.6E} "
            f"{float(metallicity):8.5f} {1e-3:10.3E}    0 {float(mass):8.4f}   {code:16s} "
            f"{0.0:12.4f}     {1.0:10.4E}"
        )
    return rows


def fit(grid, number, row):
    """Return the output of one fit."""
    obs, config, base_list, mask, law, v0, vd, _ = row
    said = lines_of(config)
    setting = {name: float(said[line - 1].split()[0]) for name, line in CONFIG_LINES.items()}
    base = read_base(base_list, grid, setting["cushion"])
    pixels = read_pixels(grid.obs_dir + obs, grid, int(setting["header"]))
    weights = read_weights(grid.mask_dir + mask, pixels)
    unit, flux, model, weights = synthesise(pixels, weights, setting)
    pulls = [(f - m) * w for f, m, w in zip(flux, model, weights, strict=True) if w > 0]
    n_clipped = sum(weight == -1 for weight in weights)
    held = grid.kinematics == "FXK"
    names = {"obs": obs[:40], "base": base_list[:40], "mask": mask[:40], "config": config[:40]}
    head = HEADER.format(
        **names,
        **{key: setting[key] for key in ("norm", "low", "upp")},
        n_base=len(base),
        law=law,
        ini=grid.low,
        fin=grid.upp,
        step=grid.step,
        unit=unit,
        seed=grid.seed - number,
        n_tried=len(pulls) + n_clipped,
        n_used=len(pulls),
        n_clipped=n_clipped,
        chi2=sum(pull**2 for pull in pulls) / len(pulls),
        velocity=float(v0) if held else 12.34,
        sigma=float(vd) if held else 123.45,
    )
    block = [
        " ".join([column(p[0], 8, 2), column(f, 10, 5), column(m, 9, 5), column(w, 8, 3)])
        for p, f, m, w in zip(pixels, flux, model, weights, strict=True)
    ]
    title = "## Synthetic spectrum (Best Model) ##l_obs f_obs f_syn wei"
    return [*head.splitlines(), *population(base), "", "", title, f" {len(block)} [Nl_obs]", *block]


def misbehave(obs, what, output):
    """Do what is told in place of a fit; return whether that was all."""
    output.write_text(WAITING)
    if what == "crash":
        sys.stdout.write(f"forrtl: severe (64): input conversion error {obs}\n")
        sys.stdout.flush()
        os.abort()
    if what == "hang":
        time.sleep(1000)
    if what == "abort":
        output.write_text("Run aborted:(\n")
    return what in {"placeholder", "abort"}


def main():
    grid = Grid(sys.stdin.read())
    told = Path("behaviour.json")
    behaviour = json.loads(told.read_text()) if told.exists() else {}
    for number, row in enumerate(grid.fits, 1):
        with Path("calls.txt").open("a") as calls:
            calls.write(row[0] + "\n")
        what, output = behaviour.get(row[0], ""), Path(grid.out_dir + row[-1])
        if not misbehave(row[0], what, output):
            lines = fit(grid, number, row)
            output.write_text("\n".join(lines[:-100] if what == "cut" else [*lines, ""]))


if __name__ == "__main__":
    main()
