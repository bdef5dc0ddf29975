"""A catalogue is what people write by hand, in a spreadsheet, or with a program."""

from pathlib import Path

import pytest

from betis.batch.catalogue import Galaxy, read_catalogue
from betis.errors import InputError


def catalogue(tmp_path, text):
    path = tmp_path / "sample.csv"
    path.write_text(text, "utf-8")
    return path


def test_cells_are_flags_options_and_files_beside_the_catalogue(tmp_path):
    (tmp_path / "lines.toml").write_text("")
    (galaxy, other) = read_catalogue(
        catalogue(
            tmp_path,
            "cube, name, redshift, target_snr, lines.line_set, rescale_noise, continuum.law\n"
            "a/b.fits, first, 0.01, 20, lines.toml, true, CCM89\n"
            "c.fits.gz, , 0.02, , standard, , \n",
        )
    )
    assert galaxy == Galaxy(
        name="first",
        cube=tmp_path / "a/b.fits",
        tables={
            "prepare": {"redshift": 0.01, "rescale_noise": True},
            "binning": {"target": 20},
            "lines": {"line_set": str((tmp_path / "lines.toml").resolve())},
            "continuum": {"law": "CCM89"},
        },
    )
    assert other.name == "c"
    assert other.tables == {"prepare": {"redshift": 0.02}, "lines": {"line_set": "standard"}}


PLAIN = "name,cube,redshift\nn1,a.fits,0.01\nn2,b.fits,0.02\n"


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", " , "),
        PLAIN.replace("redshift", "Redshift"),
        PLAIN.replace("redshift", "--redshift"),
        PLAIN.replace("redshift", "z"),
        PLAIN.replace("n1,a.fits", '"n1","a.fits"'),
        "# mine\n\n" + PLAIN.replace("n2", "  # not this: x,y,z\n\nn2") + ",,\n\n",
        PLAIN.replace("0.01", ".01").replace("0.02", "+2E-2"),
        PLAIN.replace("\n", ",\n")
        .replace("redshift,", "redshift,_note")
        .replace("01,", '01,"a,b"'),
    ],
)
def test_ways_to_write_one_table(text, tmp_path):
    assert read_catalogue(catalogue(tmp_path, text)) == [
        Galaxy(name="n1", cube=tmp_path / "a.fits", tables={"prepare": {"redshift": 0.01}}),
        Galaxy(name="n2", cube=tmp_path / "b.fits", tables={"prepare": {"redshift": 0.02}}),
    ]


def test_paths_may_be_absolute_at_home_or_beside_the_catalogue(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home/lines.toml").write_text("")
    (tmp_path / "bases").mkdir()
    (tmp_path / "map.fits").write_text("")
    first, second, third = read_catalogue(
        catalogue(
            tmp_path,
            "cube,line_set,binning,starlight.base_dir\n"
            "/data/x.fits,~/lines.toml,map.fits[SEG],./bases\n"
            "~/y.fits,none.toml,map.fits,bases\n"
            f"../z.fits,{'long' * 99},voronoi,\n",
        )
    )
    assert [galaxy.cube for galaxy in (first, second, third)] == [
        Path("/data/x.fits"),
        tmp_path / "home/y.fits",
        tmp_path / "../z.fits",
    ]
    assert first.tables == {
        "lines": {"line_set": str(tmp_path / "home/lines.toml")},
        "binning": {"method": f"{tmp_path / 'map.fits'}[SEG]"},
        "starlight": {"base_dir": str(tmp_path / "bases")},
    }
    assert second.tables["lines"] == {"line_set": "none.toml"}
    assert second.tables["starlight"] == {"base_dir": "bases"}
    assert third.tables["binning"] == {"method": "voronoi"}


@pytest.mark.parametrize("cell", ["TRUE", "True", "true"])
def test_a_spreadsheet_writes_truth_in_capitals(cell, tmp_path):
    (galaxy,) = read_catalogue(catalogue(tmp_path, f"cube,rescale_noise\na.fits,{cell}\n"))
    assert galaxy.tables == {"prepare": {"rescale_noise": True}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cube\n", "has no rows"),
        ("", "has no rows"),
        ("# cube\n", "has no rows"),
        ("file,redshift\na.fits,0.1\n", "one of them must be cube"),
        ("cube,redshfit\na.fits,0.1\n", "the column 'redshfit'.*begin its name with _"),
        ("cube,binning.taget\na.fits,0.1\n", "the column 'binning.taget'"),
        ("cube,redshift,z\na.fits,0.1,0.2\n", "two columns for 'redshift'"),
        ("cube,target_snr,binning.target\na,1,2\n", "two columns for 'target_snr'"),
        ("cube,cube\na.fits,b.fits\n", "two columns for 'cube'"),
        ("cube,redshift\na.fits\n", r"line 2 .* another number of cells .*\(1, not 2\)"),
        ("\n#\ncube,redshift\na.fits,0.1,5\n", "line 4 .* another number of cells"),
        ("cube,redshift\n,0.1\n", "line 2 .* names no cube"),
        ('cube,redshift\n"a.fits,0.1\n', "line 2 .* is no row of a table"),
        ("cube,redshift\na.fits,0.1\nx/a.fits,0.2\n", "names a twice"),
        ("cube,name\na.fits,N1\nb.fits,n1\n", "names N1, n1 twice"),
        ("cube,name\na.fits,../up\n", "names a galaxy '../up'"),
        ("cube,name\na.fits,.\n", "names a galaxy '.'"),
        ("cube,name\na.fits,summary.csv\n", "cannot be the name of its folder"),
    ],
)
def test_a_catalogue_that_means_nothing_is_refused(text, said, tmp_path):
    with pytest.raises(InputError, match=said):
        read_catalogue(catalogue(tmp_path, text))


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "sample.csv").write_bytes("cube,name\n".encode("utf-16"))
    with pytest.raises(InputError, match="is no text in UTF-8"):
        read_catalogue(tmp_path / "sample.csv")
    with pytest.raises(InputError, match="is a folder"):
        read_catalogue(tmp_path)
