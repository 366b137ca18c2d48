"""Settings: where they come from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from calldex.address import DirectoryAddress, StoreAddress
from calldex.errors import BadSettings
from calldex.networks import Networks
from calldex.settings import OF_CLIENTS, Settings, resolve


def refused(error: pytest.ExceptionInfo[BadSettings]) -> list[str]:
    """Where the settings that were refused stood."""
    return [problem.parameter for problem in error.value.problems]


def test_defaults(tmp_path: Path) -> None:
    """Without any setting a service runs on this machine alone, and every origin says so."""
    settings, origins = resolve(tmp_path, {}, {})
    assert settings == Settings(data=tmp_path)
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert origins == dict.fromkeys(Settings.__struct_fields__, "default") | {"data": "flag"}


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    """Each setting comes from the nearest place that has it, and its origin says from where."""
    (tmp_path / "calldex.toml").write_text('port = 1\nhost = "0.0.0.0"\nthreads = 3\nlog_format = "json"\n')
    environ = {"CALLDEX_PORT": "2", "CALLDEX_THREADS": "4", "PATH": "/bin"}
    settings, origins = resolve(tmp_path, {"port": 3, "host": None}, environ)
    assert settings == Settings(data=tmp_path, port=3, threads=4, host="0.0.0.0", log_format="json")  # noqa: S104 - nothing listens
    assert {name: origin for name, origin in origins.items() if origin != "default"} == {
        "data": "flag",
        "port": "flag",
        "threads": "environment",
        "host": "file",
        "log_format": "file",
    }


def test_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag, else `CALLDEX_DATA`, else `data`; the file that counts is the one in there."""
    monkeypatch.chdir(tmp_path)
    for port, name in enumerate(("flag", "environment", "data")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "calldex.toml").write_text(f"port = {port}")
    environ = {"CALLDEX_DATA": "environment"}
    resolved = [resolve(Path("flag"), {}, environ), resolve(None, {}, environ), resolve(None, {}, {})]
    assert [(str(settings.data), settings.port, origins["data"]) for settings, origins in resolved] == [
        ("flag", 0, "flag"),
        ("environment", 1, "environment"),
        ("data", 2, "default"),
    ]


def test_everything_wrong_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    """Unknown names, wrong types and values out of range are refused by the name their giver knows."""
    file = tmp_path / "calldex.toml"
    file.write_text('prot = 1\ndata = "x"\nport = "80"\nthreads = true\nquery_timeout_s = 1.5\n[host]\nname = "x"\n')
    with pytest.raises(BadSettings) as error:
        resolve(
            tmp_path,
            {"max_queries": 0, "log_levle": "info"},
            {"CALLDEX_HOTS": "x", "CALLDEX_THREADS": "three", "CALLDEX_HOST": "", "CALLDEX_LOG_LEVEL": "loud"},
        )
    assert refused(error) == [
        "CALLDEX_HOST",
        "CALLDEX_HOTS",
        "--log-levle",
        f"{file}: prot",
        f"{file}: data",
        f"{file}: port",
        f"{file}: threads",
        f"{file}: query_timeout_s",
        f"{file}: host",
        "CALLDEX_LOG_LEVEL",
        "CALLDEX_THREADS",
        "--max-queries",
    ]
    told = str(error.value).split("\n")
    assert told[1].startswith(
        "CALLDEX_HOTS: there is no such setting, did you mean 'CALLDEX_HOST'? Valid: CALLDEX_DATA, "
    )
    assert told[3].startswith(f"{file}: prot: there is no such setting, did you mean 'port'? Valid: store, directory, ")
    assert told[9] == "CALLDEX_LOG_LEVEL 'loud': not a value of this setting. Valid: debug, error, info, warning"
    assert told[10] == "CALLDEX_THREADS 'three': not a value of this setting. Valid: a whole number from 1 to 256"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"port = ", "cannot be read: Invalid value (at end of document). Valid: a TOML file"),
        (b"host = '\xff'", "cannot be read: 'utf-8' codec can't decode"),
        (b"#" * 65_537, "the file is larger than 64 KiB"),
    ],
)
def test_unreadable_file(tmp_path: Path, content: bytes, message: str) -> None:
    """A file that cannot be read stops the start; it is not taken for an empty one."""
    (tmp_path / "calldex.toml").write_bytes(content)
    with pytest.raises(BadSettings) as error:
        resolve(tmp_path, {}, {})
    assert refused(error) == [str(tmp_path / "calldex.toml")]
    assert message in str(error.value)


def test_wrong_value_is_refused_even_where_another_wins(tmp_path: Path) -> None:
    """A setting that is overridden has to be right all the same."""
    with pytest.raises(BadSettings, match="CALLDEX_PORT '65536'"):
        resolve(tmp_path, {"port": 80}, {"CALLDEX_PORT": "65536"})


def test_networks(tmp_path: Path) -> None:
    """Networks are a list in the file, text with commas elsewhere; one that is none is named."""
    (tmp_path / "calldex.toml").write_text('trusted_proxies = ["10.0.0.0/8", "::1"]')
    assert Networks("10.0.0.0/8,::1") == resolve(tmp_path, {}, {})[0].trusted_proxies
    environ = {"CALLDEX_TRUSTED_PROXIES": "192.0.2.0/24, 198.51.100.7"}
    assert Networks(["192.0.2.0/24", "198.51.100.7"]) == resolve(tmp_path, {}, environ)[0].trusted_proxies
    for wrong in ("10.0.0.1/8", "localhost", "10.0.0.0/8,,::1"):
        with pytest.raises(BadSettings, match="Valid: networks, as "):
            resolve(tmp_path, {"trusted_proxies": wrong}, {})
    (tmp_path / "calldex.toml").write_text("trusted_proxies = [1]")
    with pytest.raises(BadSettings, match="not a value of this setting"):
        resolve(tmp_path, {}, {})


def test_addresses(tmp_path: Path) -> None:
    """Store and directory are in the data directory, or at an address; one that is wrong is not repeated."""
    settings, _ = resolve(tmp_path, {}, {})
    assert (True, True) == (settings.store.embedded, settings.directory.embedded)
    store, directory = "clickhouse://ann:secret@one,two:8123/cdr?secure=1", "postgresql://ann:secret@db/cdr"
    (tmp_path / "calldex.toml").write_text(f'directory = "{directory}"')
    settings, origins = resolve(tmp_path, {"store": store}, {})
    assert (StoreAddress(store), DirectoryAddress(directory)) == (settings.store, settings.directory)
    assert ("flag", "file") == (origins["store"], origins["directory"])
    assert "secret" not in repr(settings)
    for name, wrong in (("store", "clickhouse://ann:secret@one"), ("directory", "sqlite://ann:secret@db/cdr")):
        for flags, environ, place in (
            ({name: wrong}, {}, f"--{name}"),
            ({}, {f"CALLDEX_{name.upper()}": wrong}, f"CALLDEX_{name.upper()}"),
        ):
            with pytest.raises(BadSettings, match=r"not a value of this setting\. Valid: .*://user:password@") as error:
                resolve(tmp_path, flags, environ)
            assert ([place], False) == (refused(error), "secret" in str(error.value))


def test_what_the_client_reads_is_no_setting(tmp_path: Path) -> None:
    """A shell in which `calldex.client` finds server and key runs the commands as well."""
    assert ("CALLDEX_URL", "CALLDEX_KEY") == OF_CLIENTS
    settings, _ = resolve(tmp_path, {}, {"CALLDEX_URL": "http://127.0.0.1:1", "CALLDEX_KEY": "cdx_x"})
    assert resolve(tmp_path, {}, {})[0] == settings


def test_every_setting_is_described() -> None:
    """The reference says something about every setting."""
    for field in msgspec.structs.fields(Settings):
        kind = inspect.type_info(field.type)
        assert isinstance(kind, inspect.Metadata), field.name
        assert str((kind.extra_json_schema or {})["description"]).endswith("."), field.name


@given(st.dictionaries(st.sampled_from(["CALLDEX_PORT", "CALLDEX_MAX_WAITING", "CALLDEX_HOST"]), st.text(max_size=8)))
def test_any_environment_is_taken_as_it_stands_or_refused(environ: dict[str, str]) -> None:
    """A variable ends up as the setting it spells, or is named as wrong; nothing is changed on the way."""
    wrong: set[str] = set()
    try:
        settings, _ = resolve(Path("/nonexistent"), {}, environ)
    except BadSettings as error:
        wrong = {problem.parameter for problem in error.problems}
        settings, _ = resolve(Path("/nonexistent"), {}, {name: environ[name] for name in environ.keys() - wrong})
    assert wrong <= set(environ)
    for variable in environ.keys() - wrong:
        value = getattr(settings, variable.removeprefix("CALLDEX_").lower())
        assert value == (environ[variable] if isinstance(value, str) else int(environ[variable]))
