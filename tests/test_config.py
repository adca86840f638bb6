from __future__ import annotations

from pathlib import Path

import pytest

from backend.chat.errors import Misconfigured
from backend.chat.events import Price
from backend.config import Config, load
from backend.models import models, upstream_of
from backend.models_file import GroupRow, MemberRow, ModelRow, UpstreamRow
from backend.providers.catalog import Catalog
from backend.providers.connections import TimeLimits


def test_without_any_variable_the_defaults_hold(tmp_path: Path) -> None:
    assert load({}, tmp_path) == Config()


def test_an_empty_variable_is_one_not_set(tmp_path: Path) -> None:
    assert load({"PORT": "", "OPENAI_API_KEY": ""}, tmp_path) == Config()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=7000\nDRAIN_S=2.5\n# a comment\nLOG_LEVEL='DEBUG'\n")
    config = load({"PORT": "7001"}, tmp_path)
    assert (config.port, config.drain_s, config.log_level) == (7001, 2.5, "debug")


@pytest.mark.parametrize(
    "env",
    [
        {"PORT": "-1"},
        {"PORT": "٣"},
        {"MAX_STREAMS": "0"},
        {"MAX_BODY_BYTES": "1e6"},
        {"DRAIN_S": "nan"},
        {"DRAIN_S": "-1"},
        {"UPSTREAM_CONNECT_S": "0"},
        {"LOG_LEVEL": "loud"},
        {"LOG_FORMAT": "xml"},
        {"STORE_URL": "sqlite://"},
        {"STORE_URL": "redis://"},
        {"STORE_URL": "postgresql://x"},
        {"PORT": "65536"},
        {"ALLOWED_HOSTS": "https://example.org"},
        {"ALLOWED_HOSTS": "example.org:80"},
        {"CORS_ORIGINS": "example.org"},
        {"CORS_ORIGINS": "https://example.org/path"},
        {"WORKERS": "0"},
        {"WORKERS": "65"},
        {"WORKERS": "2"},
        {"RUNTIME": "asyncio"},
        {"AUTH": "none"},
        {"AUTH": "Required"},
        {"JWT_ALGORITHM": "HS512"},
        {"JWT_ALGORITHM": "none"},
        {"JWT_SECRET": ""},
        {"CORS_ORIGINS": "*"},
        {"IMAGE_HOSTS": "*"},
        {"IMAGE_HOSTS": "img.example.org"},
        {"IMAGE_HOSTS": "https://img.example.org/path"},
        {"IMAGE_HOSTS": "https://img.example.org; script-src https:"},
        {"IMAGE_HOSTS": "data:"},
        {"IMAGE_HOSTS": "https://img.example.org:65536"},
        {"IMAGE_HOSTS": "https://img.example.org:0"},
        {"IMAGE_HOSTS": "https://-"},
        {"RATE_LIMIT": "30"},
        {"RATE_LIMIT": "0/minute"},
        {"RATE_LIMIT": "-1/minute"},
        {"RATE_LIMIT": "30/fortnight"},
        {"RATE_LIMIT": "30/minute; 5/second"},
        {"ADDRESS_LIMIT": "none"},
        {"TRUSTED_PROXIES": "-1"},
        {"TRUSTED_PROXIES": "10.0.0.1"},
        {"HOST": "0.0.0.0"},
        {"OPENAI_BASE_URL": "ftp://x"},
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_and_the_sentence_names_the_variable(
    tmp_path: Path, env: dict[str, str]
) -> None:
    with pytest.raises(Misconfigured, match=next(iter(env))):
        load(env, tmp_path)


def test_several_workers_need_a_store_that_they_share(tmp_path: Path) -> None:
    for store in ("memory://", "sqlite:///var/chat.db"):
        with pytest.raises(Misconfigured, match=r"WORKERS=3 needs a store .*: set STORE_URL=redis://"):
            load({"WORKERS": "3", "STORE_URL": store}, tmp_path)
    for store in ("redis://localhost", "unix:///run/redis.sock", "rediss+cluster://a:1,b:2"):
        assert load({"WORKERS": "3", "STORE_URL": store}, tmp_path).workers == 3


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("PORT=7000".encode("utf-16"))
    with pytest.raises(Misconfigured, match="UTF-8"):
        load({}, tmp_path)


def test_a_line_that_sets_nothing_is_refused_by_its_number(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=7000\nOPENAI_API_KEY='no end\nDRAIN_S=1\n")
    with pytest.raises(Misconfigured, match="line 2"):
        load({}, tmp_path)


@pytest.mark.parametrize("auth", ["off", "optional"])
def test_the_network_is_let_in_only_when_that_is_said(tmp_path: Path, auth: str) -> None:
    with pytest.raises(Misconfigured, match="AUTH=required"):
        load({"HOST": "0.0.0.0", "AUTH": auth}, tmp_path)
    assert load({"HOST": "0.0.0.0", "AUTH": auth, "ALLOW_ANONYMOUS": "1"}, tmp_path).host == "0.0.0.0"
    assert load({"HOST": "0.0.0.0", "AUTH": "required"}, tmp_path).host == "0.0.0.0"


def test_a_secret_that_is_there_but_empty_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("JWT_SECRET=\n")
    with pytest.raises(Misconfigured, match="JWT_SECRET is empty"):
        load({}, tmp_path)


def test_a_limit_can_be_taken_away(tmp_path: Path) -> None:
    config = load({"RATE_LIMIT": "off", "ADDRESS_LIMIT": "5/hour"}, tmp_path)
    assert (config.rate_limit, config.address_limit) == (None, "5/hour")


def test_an_upstream_appears_with_its_key_and_the_built_in_model_is_always_there(tmp_path: Path) -> None:
    config = load({"OPENAI_API_KEY": "k", "OPENAI_MODELS": "a, b,", "GEMINI_API_KEY": "g"}, tmp_path)
    assert [model.name for model in models(config)] == ["a", "b", "gemini-2.5-flash", "demo"]
    assert Catalog(models(config)).default == "a"
    assert Catalog(models(config), "demo").default == "demo"
    assert [model.name for model in models(Config())] == ["demo"]


def test_each_upstream_is_told_the_answers_bound_by_the_name_it_knows(tmp_path: Path) -> None:
    (own,) = load({"OPENAI_API_KEY": "k"}, tmp_path).upstreams
    (other,) = load({"OPENAI_BASE_URL": "http://127.0.0.1:8000/v1"}, tmp_path).upstreams
    assert (own.max_tokens_field, other.max_tokens_field) == ("max_completion_tokens", "max_tokens")
    (tmp_path / "models.toml").write_text(
        "[[upstream]]\nname='x'\nbase_url='http://x'\nmodels=['m']\nmax_tokens_field='max_completion_tokens'\n"
    )
    (row,) = load({}, tmp_path).upstreams
    assert row.max_tokens_field == "max_completion_tokens"


def test_an_upstream_is_said_how_it_goes_on_with_an_answer_and_then_its_models_can(tmp_path: Path) -> None:
    rows = "[[upstream]]\nname='x'\nbase_url='http://x'\nmodels=['m']\n{}[group.g]\nmembers=[{{model='m'}}]\n"
    for said, can in (("", False), ("continues='prefix'\n", True)):
        (tmp_path / "models.toml").write_text(rows.format(said))
        found = {model.name: model.continues for model in models(load({}, tmp_path))}
        assert found == {"m": can, "demo": True, "g": can}
    (tmp_path / "models.toml").write_text(rows.format("continues='somehow'\n"))
    with pytest.raises(Misconfigured, match=r"upstream\.0\.continues: Input should be 'prefill', 'prefix'"):
        load({}, tmp_path)


def test_answers_are_gone_on_with_only_where_a_store_outlives_their_process(tmp_path: Path) -> None:
    shared = {"STORE_URL": "redis://127.0.0.1/0"}
    assert not load(shared, tmp_path).continue_interrupted
    assert load({**shared, "CONTINUE_INTERRUPTED": "1"}, tmp_path).continue_interrupted
    assert not load({"CONTINUE_INTERRUPTED": "0"}, tmp_path).continue_interrupted
    with pytest.raises(Misconfigured, match="CONTINUE_INTERRUPTED=1 needs a store that outlives"):
        load({"CONTINUE_INTERRUPTED": "1"}, tmp_path)
    with pytest.raises(Misconfigured, match="CONTINUE_INTERRUPTED must be 0 or 1, not 'yes'"):
        load({**shared, "CONTINUE_INTERRUPTED": "yes"}, tmp_path)


def test_a_model_server_without_a_key_needs_only_its_address(tmp_path: Path) -> None:
    config = load({"OPENAI_BASE_URL": "http://127.0.0.1:8000/v1", "OPENAI_MODELS": "local"}, tmp_path)
    assert config.upstreams == (
        UpstreamRow("openai", "http://127.0.0.1:8000/v1", None, (ModelRow("local", "local"),)),
    )


def test_a_config_does_not_show_its_keys(tmp_path: Path) -> None:
    keys = {
        "OPENAI_API_KEY": "sk-canary",
        "JWT_SECRET": "canary" * 9,
        "METRICS_TOKEN": "canary",
        "STORE_URL": "redis+sentinel://:p%40canary@a,b/parley",
    }
    config = load(keys, tmp_path)
    assert "canary" not in repr(config)
    assert config.secrets == ["sk-canary", "p@canary", "canary" * 9, "canary"]


def test_an_address_with_a_password_in_it_is_not_shown_when_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="STORE_URL") as refusal:
        load({"STORE_URL": "redi://:canary@host"}, tmp_path)
    assert "canary" not in str(refusal.value)


MODELS_FILE = """
[[upstream]]
name = "rack"
base_url = "http://10.0.0.5:8000/v1/"
api_key_env = "RACK_KEY"
models = ["big", "small"]

first_byte_s = 2.5

[[upstream]]
name = "cloud"
base_url = "https://cloud.example.org/v1"
models = ["big"]

[model.big]
upstream_name = "vendor/big-70b"
context_tokens = 131072
price = { input = 0.15, output = 0.6 }

[model.demo]
context_tokens = 1000

[group.fast]
cooldown_s = 5
members = [
  { model = "big", upstream = "cloud", weight = 3, rank = 0 },
  { model = "big", rank = 0 },
  { model = "demo" },
]
"""


def test_the_models_file_adds_upstreams_names_and_context_sizes(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(MODELS_FILE)
    found = {model.name: model for model in models(load({"RACK_KEY": "k"}, tmp_path))}
    assert (found["big"].upstream_name, found["big"].context_tokens) == ("vendor/big-70b", 131072)
    assert (found["small"].upstream_name, found["small"].context_tokens) == ("small", 8192)
    assert found["demo"].context_tokens == 1000
    assert (found["small"].owned_by, found["demo"].owned_by) == ("rack", "parley")


def test_the_models_file_has_prices_in_picodollars_a_token(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(MODELS_FILE)
    assert load({"RACK_KEY": "k"}, tmp_path).prices == {"big": Price(150_000, 600_000, 150_000)}


def test_a_price_of_a_model_there_is_not_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "models.toml").write_text('[model."gpt-5"]\nprice = { input = 1, output = 1 }\n')
    models(load({}, tmp_path))
    assert "[model.gpt-5]" in caplog.text


def test_a_key_in_place_of_its_variable_is_not_shown(tmp_path: Path) -> None:
    key = "sk-canary-0123456789"
    (tmp_path / "models.toml").write_text(
        f"[[upstream]]\nname='x'\nbase_url='http://x'\nmodels=['m']\napi_key_env='{key}'\n"
    )
    with pytest.raises(Misconfigured) as refused:
        load({}, tmp_path)
    assert "canary" not in str(refused.value)


def test_an_upstream_may_have_time_limits_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(MODELS_FILE)
    config = load({"RACK_KEY": "k", "UPSTREAM_CONNECT_S": "1"}, tmp_path)
    limits = [upstream_of(config, row).limits for row in config.upstreams]
    assert limits == [TimeLimits(connect_s=1, first_byte_s=2.5), TimeLimits(connect_s=1)]


def test_the_models_file_makes_groups_that_are_as_small_as_their_smallest(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(MODELS_FILE)
    config = load({"RACK_KEY": "k"}, tmp_path)
    members = (
        MemberRow("big", "cloud", 0, 3.0),
        MemberRow("big", None, 0, 1.0),
        MemberRow("demo", None, 2, 1.0),
    )
    assert config.groups == (GroupRow("fast", members, 5.0),)
    assert [model.name for model in models(config)] == ["big", "small", "big", "demo", "fast"]
    group = models(config)[-1]
    assert (group.context_tokens, group.owned_by, Catalog(models(config)).default) == (1000, "parley", "big")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[group.demo]\nmembers = [{ model = 'demo' }]\n", "name of a model"),
        ("[group.g]\nmembers = [{ model = 'nobody' }]\n", "'nobody'"),
        ("[group.g]\nmembers = [{ model = 'demo', upstream = 'u' }]\n", "'u'"),
        ("[group.g]\nmembers = [{ model = 'g' }]\n", "'g'"),
    ],
)
def test_a_group_of_models_there_are_not_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "models.toml").write_text(text)
    with pytest.raises(Misconfigured, match=says):
        models(load({}, tmp_path))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[upstream]\n", "not TOML"),
        ("[[upstream]]\nname = 'x'\n", "base_url"),
        ("[[upstream]]\nname='x'\nbase_url='http://x'\nmodels=['m']\nkey='sk'\n", "key"),
        ("[[upstream]]\nname='x'\nbase_url='http://x'\nmodels=['m']\napi_key_env='NONE'\n", "NONE"),
        ("[model.m]\ncontext_tokens = 'many'\n", "context_tokens"),
        ("[[upstream]]\nname='x'\nbase_url='http://x'\nmodels=['m']\napi_key_env='sk-abc'\n", "api_key_env"),
        ("[[upstream]]\nname='x'\nbase_url='http://x'\nmodels=['']\n", "models"),
        ("[[upstream]]\nname='x'\nbase_url='http://x'\nmodels=['m']\n" * 2, "several|Several"),
        ("[model.m]\nprice = { input = -1, output = 0 }\n", "input"),
        ("[model.m]\nprice = { input = 1 }\n", "output"),
        ("[group.g]\nmembers = []\n", "members"),
        ("[group.g]\nmembers = [{ model = 'demo', weight = 0 }]\n", "weight"),
        ("[[upstream]]\nname='x'\nbase_url='http://x'\nmodels=['m']\nconnect_s = 0\n", "connect_s"),
    ],
)
def test_a_wrong_models_file_is_refused_with_the_place(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "other.toml").write_text(text)
    with pytest.raises(Misconfigured, match=says):
        load({"MODELS_FILE": "other.toml"}, tmp_path)
