"""A product that was damaged after it was written is made anew; it never ends in a traceback."""

import pytest

from betis.cli import main


@pytest.fixture
def folder(mock_cube, tmp_path):
    place = tmp_path / "out"
    assert main(["prepare", str(mock_cube), "-z", "0.01", "-o", str(place)]) == 0
    assert main(["snr", str(place)]) == 0
    return place


@pytest.mark.parametrize("kept", [0, 100, 2880, 4000, 6000, 8640, 0.5, 0.9])
def test_a_product_cut_short_anywhere_is_made_anew(kept, folder):
    whole = (folder / "snr.fits").read_bytes()
    (folder / "snr.fits").write_bytes(whole[: kept if kept > 1 else int(kept * len(whole))])
    assert main(["snr", str(folder)]) == 0
    assert (folder / "snr.fits").stat().st_size == len(whole)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"input": 3}', '{"stages": 3}'])
def test_a_damaged_provenance_is_said(text, folder, capsys):
    (folder / "provenance.json").write_text(text)
    assert main(["snr", str(folder)]) == 2
    assert "provenance.json is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[input]\ncube = 3\n", "[prepare]\nredshift = 0.01\n"])
def test_a_configuration_without_its_cube_is_said(text, folder, capsys):
    (folder / "config.toml").write_text(text)
    assert main(["snr", str(folder)]) == 2
    assert "holds no run yet" in capsys.readouterr().err
