"""What is refused or told before a job begins: keys in paths, settings for species that are not there."""

from pathlib import Path

import pytest

from jobs.cli.options import later_config_of
from jobs.common.inputs import check_species_settings, read_sources
from reid.config import Config, load_config
from reid.errors import InputError


@pytest.mark.parametrize(
    "setting",
    [
        "embed.per_species.Lynx.tta=identity",
        "cluster.per_species_eps.Lynx=0.05",
        "cluster.fallback_species=Lynx",
        "identify.per_species.Lynx.encounters=best",
        "finetune.no_flip_species=[Lynx]",
        "images.per_species_window.Lynx=[0.1, 0.1, 0.9, 0.9]",
        "pairs.max_speed_kmh.Lynx=40",
    ],
)
def test_a_setting_for_a_misspelt_species_is_refused(
    setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_config(None, [setting])
    section = setting.partition(".")[0]
    for more_may_come in (False, True):
        with pytest.raises(
            InputError, match=r"no image is of the species 'Lynx'; did you mean 'lynx'"
        ):
            check_species_settings(config, {"lynx", "ibex"}, [section], more_may_come=more_may_come)
        check_species_settings(config, {"Lynx", "ibex"}, [section], more_may_come=more_may_come)
        check_species_settings(config, {"lynx"}, ["report"], more_may_come=more_may_come)
    with pytest.raises(InputError, match="Species here: ibex"):
        check_species_settings(config, {"ibex"}, [section])
    check_species_settings(config, {"ibex"}, [section], more_may_come=True)  # it may come later


def test_no_table_of_species_is_left_unchecked() -> None:
    """Whoever adds one is told to have it looked at."""
    tables = {
        f"{section}.{name}"
        for section, of in Config.model_fields.items()
        for name, field in getattr(of.annotation, "model_fields", {}).items()
        if getattr(field.annotation, "__origin__", None) is dict
    } - {"sources.columns"}
    assert "images.per_species_window" in tables
    for table in sorted(tables):
        config = load_config(None, []).model_copy(deep=True)
        section, _, name = table.partition(".")
        getattr(config, section).__dict__[name] = {"Lynx": None}
        with pytest.raises(InputError, match=table):
            check_species_settings(config, {"ibex"}, [section])


def test_keys_in_a_path_are_refused_and_not_repeated(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("path\na.jpg\ns3://AKIA123:SECRETSECRET@bucket/b.jpg\n")
    with pytest.raises(InputError, match="keys do not belong into a path") as caught:
        read_sources(load_config(None, [], {"input": [str(table)]}))
    assert "SECRETSECRET" not in str(caught.value)
    assert "AKIA123" not in str(caught.value)


@pytest.mark.parametrize(
    "key", ["out", "store", "input", "root", "identify.catalogue", "finetune.cache", "address"]
)
def test_keys_in_any_option_are_refused(key: str) -> None:
    with pytest.raises(InputError, match="keys do not belong into a path") as caught:
        load_config(None, [f"{key}=s3://AKIA123:SECRETSECRET@bucket/x"])
    assert "SECRET" not in str(caught.value).replace("AWS_SECRET_ACCESS_KEY", "")


def test_a_folder_of_somebody_else_does_not_say_where_to_compute(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(
        "address: ray://elsewhere:10001\nstore: /elsewhere\nseed: 7\nembed: {trust_remote_code: true}\n"
    )
    config = later_config_of(None, None, out=str(tmp_path))
    assert (config.address, config.store, config.seed) == (None, None, 7)
    assert config.embed.trust_remote_code is False
    said = capsys.readouterr().err
    assert (
        "not taken from there: address=ray://elsewhere:10001, store=/elsewhere, embed.trust" in said
    )
    config = later_config_of(None, None, out=str(tmp_path), address="ray://mine:10001")
    assert config.address == "ray://mine:10001"
