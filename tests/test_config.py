from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reid.config import (
    Config,
    data_settings,
    dump_config,
    load_config,
)
from reid.errors import InputError
from reid.spelling import refuse_unknown_species


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def text_to_file(text: str | bytes) -> str:
        path = tmp_path / "config.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    return text_to_file


def test_each_source_overrules_the_one_before(write: Any) -> None:
    file = write("seed: 1\nout: from-file\nmax_failures: 0.5\ncluster: {min_samples: 3}\n")
    assert load_config().seed == 0
    config = load_config(file, ["seed=3"], {"seed": 2, "out": "from-flag", "max_failures": None})
    assert (config.seed, config.out, config.max_failures) == (3, "from-flag", 0.5)
    assert config.cluster.min_samples == 3
    assert config.cluster.criterion == "ari", "one key of a section leaves its others alone"
    assert config.embed == load_config().embed


def test_overrides_reach_into_sections_and_species() -> None:
    config = load_config(
        None,
        [
            "embed.per_species.lynx.tta=identity",
            "embed.per_species.lynx.model=[efficientnet-lite1, efficientnet-lite2]",
            "cluster.per_species_eps.lynx=0.25",
            "cluster.eps=1e-3",
            "embed.tta=identity, hflip,rot90",
            "report.map=false",
        ],
        {"embed": {"model": "efficientnet-lite2"}},
    )
    assert config.embed.model == ["efficientnet-lite2"]
    assert config.embed.tta == ["identity", "hflip", "rot90"]
    lynx = config.embed.route("lynx")
    assert (lynx.model, lynx.tta) == (["efficientnet-lite1", "efficientnet-lite2"], ["identity"])
    assert config.embed.route("nyala").model == ["efficientnet-lite2"]
    assert (config.cluster.eps, config.cluster.per_species_eps) == (0.001, {"lynx": 0.25})
    assert config.report.map is False


def test_a_route_takes_what_it_lacks_from_embed() -> None:
    config = load_config(
        None,
        [
            "embed.model=a,b",
            "embed.model_weights=[1, 2]",
            "embed.per_species.lynx.tta=identity",
            "embed.per_species.ibex.model=c",
        ],
    )
    assert config.embed.route("lynx").model_weights == [1, 2]
    assert config.embed.route("lynx").model == ["a", "b"]
    assert config.embed.route("ibex").model_weights is None, "weights belong to their models"
    assert config.embed.route("ibex").tta == ["identity", "hflip"]


def test_one_input_needs_no_brackets(write: Any) -> None:
    assert load_config(write("input: photos, the second box")).input == ["photos, the second box"]
    assert load_config(None, ["input=[a, b]"]).input == ["a", "b"]


@pytest.mark.parametrize("file", ["rerank: auto", "rerank: {mode: auto}"])
@pytest.mark.parametrize("override", ["rerank.jaccard_weight=0.4", "rerank={jaccard_weight: 0.4}"])
def test_the_short_form_of_rerank_mixes_with_the_long_one(
    write: Any, file: str, override: str
) -> None:
    rerank = load_config(write(file), [override]).rerank
    assert (rerank.mode, rerank.jaccard_weight) == ("auto", 0.4)


@pytest.mark.parametrize("mode", ["on", "off", "auto"])
@pytest.mark.parametrize("key", ["rerank", "rerank.mode"])
def test_yaml_makes_booleans_of_on_and_off(key: str, mode: str) -> None:
    long = load_config(None, ["rerank.jaccard_weight=0.4", f"{key}={mode}"]).rerank
    assert (long.mode, long.jaccard_weight) == (mode, 0.4)


def test_the_store_is_below_the_output_unless_given() -> None:
    assert load_config(None, ["out=s3://bucket/run/"]).store_path == "s3://bucket/run/embeddings"
    assert load_config(None, ["store=shared"]).store_path == "shared"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("cluser.eps=0.3", r"^configuration: cluser: unknown key; did you mean cluster\? Known.*"),
        ("embed.modle=x", r"embed\.modle: .* mean model\? Known keys here: model, model_weights,"),
        ("zebra=1", r"zebra: unknown key\. Known keys here: input, out, root, store, species,"),
        ("embed.per_species.lynx.views=x", r"lynx\.views: .*: model, model_weights, tta$"),
        # A species may have the name of a key.
        ("embed.per_species.model.views=x", r"model\.views: .*: model, model_weights, tta$"),
        ("cluster.eps=2.5", r"cluster\.eps: 2\.5 is not a usable .* 0 < eps < 2, or auto"),
        ("cluster.eps=.nan", r"cluster\.eps: .*finite number"),
        ("cluster.per_species_eps.lynx=5", r"per_species_eps\.lynx: .*less than 2 \(given: 5\)"),
        ("cluster.method=kmeans", r"kmeans needs cluster\.n_clusters, the number of individuals"),
        ("cluster.method=scan", r"scan needs cluster\.n_clusters, the number of individuals"),
        ("embed.batch_size=0", r"embed\.batch_size: .*than or equal to 1 or 'auto' \(given: 0\)"),
        ("embed.workers=-1", r"embed\.workers: .*greater than or equal to 1"),
        ("embed.cpus_per_worker=0", r"embed\.cpus_per_worker: .*greater than or equal to 1"),
        ("embed.shard_rows=0", r"embed\.shard_rows: .*greater than or equal to 1"),
        (
            "embed.batch_size=many",
            r"embed\.batch_size: must be a whole number or 'auto' \(given: 'many'\)$",
        ),
        ("max_failures=10", r"max_failures: .*less than or equal to 1 \(given: 10\)"),
        ("images.max_megapixels=.nan", r"images\.max_megapixels: .*finite number"),
        ("images.max_megapixels=0", r"images\.max_megapixels: .*greater than 0"),
        ("seed=5000000000", r"seed: .*less than or equal to 4294967295 \(given: 5000000000\)"),
        ("cluster.memory_gb=.inf", r"memory_gb: .*finite number \(given: inf\)"),
        ("cluster.memory_gb=-1", r"memory_gb: .*greater than or equal to 0\.01"),
        ("cluster.images_per_individual=1", r"images_per_individual: .*greater than 1"),
        ("embed.cpus_per_worker=10000000000", r"cpus_per_worker: .*less than or equal to 1000000"),
        ("finetune.input_size=60000", r"finetune\.input_size: .*less than or equal to 4096"),
        ("identify.known_probability=.nan", r"known_probability: .*finite number"),
        ("out=\0", r"holds bytes that are no UTF-8 text|not YAML"),
        ("out=\udcff", r"holds bytes that are no UTF-8 text|not YAML"),
        ("out=", r"out: must be text \(given: None\)"),
        (
            "cluster.eps=0,3",
            r"must be a number or 'auto' \(given: '0,3'\); write 0\.3, with a point$",
        ),
        ("cluster.method=dbsca", r"cluster\.method: must be 'dbscan', 'average'"),
        ("embed.model=", r"embed\.model: must be a list, \[a, b\]"),
        ("images.window=[.2,.1,.9]", r"images\.window: more values are needed than 3 \(given"),
        ("images.window=[.2,.1,.8,1,2]", r"images\.window: has 5 values and can have 4 \(given"),
        ("cluster.collapse_duplicates=maybe", r"must be true or false \(given: 'maybe'\)"),
        ("out=''", r"out: .*at least 1 character"),
        ("seed=-1", r"seed: .*greater than or equal to 0"),
        ("embed=3", r"embed: .*\(given: 3\)"),
        ("identify.per_species.lynx.eps=1", r"lynx\.eps: .*Known keys here: known_distance, new_d"),
        (
            "identify.known_distance=0.2",
            r"^configuration: identify: known_distance and new_distance b",
        ),
        (
            "identify={known_distance: 0.3, new_distance: 0.2}",
            r"known_distance 0\.3 is more than new",
        ),
        (
            "identify={known_distance: 0.1, new_distance: 0.2, radius: 0.15}",
            r"identify: radius 0\.15 is less than new_distance 0\.2",
        ),
        (
            "identify.new_probability=0.95",
            r"new_probability 0\.95 is not below identify\.known_pro",
        ),
        (
            "identify={radius: 0.2, per_species: {lynx: {known_distance: 0.1, new_distance: 0.3}}}",
            r"radius 0\.2 is less than new_distance 0\.3",
        ),
        ("cluster.self_label=true", r"cluster\.self_label: only with cluster\.method=scan"),
        (
            "cluster={method: kmeans, n_clusters: 3, over_cluster: true}",
            r"cluster\.over_cluster: only with cluster\.method=scan",
        ),
        ("seed", r"'seed' is not an override; write key=value"),
        ("=3", r"'=3' is not an override"),
        ("out=[a", r"'out=\[a': the value is not YAML"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_right(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_config(None, [override])


def test_all_mistakes_are_listed_at_once() -> None:
    with pytest.raises(InputError, match=r"(?s)seed: .*\n.*max_failures: |max_failures.*\n.*seed"):
        load_config(None, ["seed=x", "max_failures=2"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b", "expected `key: value` lines, found a list"),
        ("a: [", "not YAML"),
        (b"seed: 1 # \xff", "not YAML.*decode"),
        ("1: 2", "Keys should be strings"),
        ("!!python/object/apply:os.system ['true']", "not YAML"),
    ],
)
def test_a_file_that_is_no_configuration(write: Any, text: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_config(write(text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.yaml: No such file"):
        load_config(str(tmp_path / "nothing.yaml"))
    with pytest.raises(InputError, match="Is a directory"):
        load_config(str(tmp_path))


def test_an_empty_file_is_the_defaults(write: Any) -> None:
    assert load_config(write("# nothing yet\n")) == Config()


def test_a_configuration_cannot_be_changed_on_the_way() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().seed = 3  # type: ignore[misc]


# Words that YAML would read as something else, unless they are quoted.
# PyYAML does not bring back all of Unicode's line breaks; no name has one.
TEXT = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=12)
WORDS = TEXT | st.sampled_from(
    ["on", "no", "null", "1e3", "0x1f", "2024-01-01", "~", "a: b", "- a", "#", "é", " x ", "'"]
)
ROUTES = st.fixed_dictionaries({"tta": st.lists(WORDS, min_size=1, max_size=3)})


@given(
    data=st.fixed_dictionaries(
        {},
        optional={
            "input": st.lists(WORDS, max_size=3),
            "out": WORDS,
            "species": st.none() | WORDS,
            "seed": st.integers(0, 2**32 - 1),
            "max_failures": st.floats(0, 1),
            "embed": st.fixed_dictionaries(
                {},
                optional={
                    "model": st.lists(WORDS, min_size=1, max_size=2),
                    "batch_size": st.just("auto") | st.integers(1, 4096),
                    "per_species": st.dictionaries(WORDS, ROUTES, max_size=2),
                },
            ),
            "cluster": st.fixed_dictionaries(
                {
                    "eps": st.just("auto") | st.floats(0, 2, exclude_min=True, exclude_max=True),
                }
            ),
            "rerank": st.sampled_from([{"mode": "on"}, {"mode": "off"}, {"mode": "auto"}]),
        },
    )
)
def test_what_is_written_beside_the_outputs_is_read_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any]
) -> None:
    config = Config.model_validate(data)
    file = tmp_path_factory.getbasetemp() / "resolved.yaml"
    file.write_text(dump_config(config), encoding="utf-8")
    assert load_config(str(file)) == config


def test_the_dump_holds_every_key() -> None:
    dumped = yaml.safe_load(dump_config(Config()))
    assert set(dumped) == set(Config.model_fields)
    assert dumped["embed"]["tta"] == ["identity", "hflip"]
    assert dumped["rerank"]["mode"] == "off"


def test_rules_of_a_species_come_before_the_common_ones() -> None:
    identify = load_config(
        None,
        [
            "identify.encounters=off",  # a boolean in YAML
            "identify.known_distance=0.2",
            "identify.new_distance=0.3",
            "identify.per_species.ibex.encounters=mean",
        ],
    ).identify
    assert identify.rules("lynx").encounters == "off"
    ibex = identify.rules("ibex")
    assert (ibex.encounters, ibex.known_distance, ibex.viewpoints) == ("mean", 0.2, None)


def nested(base: str, levels: int) -> str:
    """A YAML bomb: each line stands for ten of the line before."""
    lines = [f"a0: &a0 [{', '.join([base] * 10)}]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (nested("lol", 9), r"more than 20,000 values, aliases \(\*name\) written out"),
        ("input: &a [*a]", "stands for what it is a part of"),
        ("[" * 100_000, "nested more than 20 levels"),
        ("- " * 100_000, "nested more than 20 levels"),
        ("\n".join(f"k{i}: 1" for i in range(100_000)), r"more than 20,000 values"),
        ("out: " + "x" * 2_000_000, r"2,000,005 characters, over the limit of 1,000,000"),
        ("seed: " + "9" * 10_000, "not YAML|less than or equal"),
        ("seed: !!timestamp x", "not YAML"),
        ("seed: 2021-99-99", "not YAML"),
    ],
)
def test_yaml_is_read_within_bounds(write: Any, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_config(write(text))
    assert len(str(caught.value)) < 2000


def test_many_unknown_keys_are_told_by_a_few(write: Any) -> None:
    with pytest.raises(
        InputError, match=r"k0: unknown key.*\n(.*\n)*.*and 4,995 more problems"
    ) as caught:
        load_config(write("\n".join(f"k{i}: 1" for i in range(5000))))
    assert len(str(caught.value)) < 3000
    with pytest.raises(InputError, match=r"given: \[1, 1, 1, 1, 1, 1, \.\.\.\]"):
        load_config(write(f"seed: {[1] * 5000}"))


def test_an_alias_that_stands_for_little_is_fine(write: Any) -> None:
    config = load_config(write("input: &here [a, b]\nembed: {tta: *here}\n"))
    assert (config.input, config.embed.tta) == (["a", "b"], ["a", "b"])


@pytest.mark.parametrize(
    ("override", "species"),
    [
        ("cluster.per_species_eps.Equus sp.=0.05", "Equus sp."),
        ('cluster.per_species_eps."Equus sp."=0.05', "Equus sp."),
        ("cluster.per_species_eps.'Equus sp.'=0.05", "Equus sp."),
        ("cluster.per_species_eps.E. quagga=0.05", "E. quagga"),
        ('cluster.per_species_eps."a = b.c"=0.05', "a = b.c"),
        ("cluster.per_species_eps.lynx=0.05", "lynx"),
        ("cluster.per_species_eps.St. Bernard's=0.05", "St. Bernard's"),
        ("cluster={per_species_eps: {Equus sp.: 0.05}}", "Equus sp."),
    ],
)
def test_a_species_may_hold_dots_and_blanks(override: str, species: str) -> None:
    assert load_config(None, [override]).cluster.per_species_eps == {species: 0.05}


@pytest.mark.parametrize(
    ("override", "species"),
    [
        ("embed.per_species.Equus sp..tta=identity", "Equus sp."),
        ('embed.per_species."Equus sp.".tta=identity', "Equus sp."),
        ("embed.per_species.E. quagga.tta=identity", "E. quagga"),
        ("embed.per_species.Equus sp.={tta: identity}", "Equus sp."),
        ('embed.per_species."Equus sp."={tta: identity}', "Equus sp."),
        ("embed.per_species={Equus sp.: {tta: identity}}", "Equus sp."),
    ],
)
def test_a_species_with_settings_may_hold_dots_and_blanks(override: str, species: str) -> None:
    embed = load_config(None, [override]).embed
    assert set(embed.per_species) == {species}
    assert embed.route(species).tta == ["identity"]


def test_a_species_that_no_image_has_is_refused_with_the_one_that_was_meant() -> None:
    known = ["lynx", "Equus sp.", *(f"other {i}" for i in range(20))]
    refuse_unknown_species("cluster.per_species_eps", ["lynx", "Equus sp."], known)
    for asked, meant in (("Lynx", "lynx"), ("Equus sp", "Equus sp."), ("lnyx", "lynx")):
        with pytest.raises(
            InputError,
            match=rf"cluster\.per_species_eps: no image is of the species '{asked}'; did you mean "
            rf"'{meant}'\? Species here: .* and 12 more",
        ):
            refuse_unknown_species("cluster.per_species_eps", [asked], known)
    with pytest.raises(InputError, match=r"species 'zebra'\. Species here: lynx$"):
        refuse_unknown_species("embed.per_species", ["zebra"], ["lynx"])


def test_an_output_folder_decides_only_what_concerns_the_data(write: Any) -> None:
    file = write(
        "address: ray://elsewhere:10001\nstore: s3://elsewhere/store\nout: /elsewhere\nseed: 3\n"
        "embed: {trust_remote_code: true, tta: [identity]}\nrerank: auto\nmetrics: true\n"
        "finetune: {cache: /elsewhere}\nidentify: {catalogue: /elsewhere}\n"
    )
    base, left = data_settings(file)
    config = load_config(None, ["cluster.eps=0.2"], {"out": "here"}, base)
    assert (config.seed, config.embed.tta, config.rerank.mode) == (3, ["identity"], "auto")
    assert (config.address, config.store, config.out, config.metrics) == (None, None, "here", False)
    assert config.finetune == Config().finetune
    assert config.identify == Config().identify
    assert config.embed.trust_remote_code is False
    assert left == [
        "address=ray://elsewhere:10001", "store=s3://elsewhere/store", "embed.trust_remote_code=True",
    ]  # fmt: skip


def test_a_window_is_for_all_species_or_for_one_and_in_order() -> None:
    config = load_config(
        None, ["images.window=[.15,.12,.85,.68]", "images.per_species_window.lynx=[0,0,1,.5]"]
    )
    assert config.images.window_of("nyala") == (0.15, 0.12, 0.85, 0.68)
    assert config.images.window_of("lynx") == (0, 0, 1, 0.5)
    assert Config().images.window_of("lynx") is None
    for wrong in ("[.5,.1,.4,.9]", "[0,0,1.1,1]", "[0,.5,1,.5]"):
        with pytest.raises(InputError, match=r"images\.window: .* is no window: left, top, right"):
            load_config(None, [f"images.window={wrong}"])


@pytest.mark.parametrize(("said", "mode"), [("auto", "auto"), ("on", "on"), ("off", "off")])
def test_the_mode_of_pairs_may_be_said_in_one_word(said: str, mode: str) -> None:
    assert load_config(None, [f"pairs={said}"]).pairs.mode == mode
    assert load_config(None, [f"pairs.mode={said}"]).pairs.mode == mode
