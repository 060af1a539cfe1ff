"""Issuers of machines whose tokens always look alike: what need not be written for them, and what must be."""

from typing import Any

from weir.base.mistakes import SettingError
from weir.config.model import IssuerSettings

_PRESETS: dict[str, dict[str, Any]] = {
    # https://docs.github.com/actions/concepts/security/openid-connect
    "github-actions": {
        "issuer": "https://token.actions.githubusercontent.com",
        "algorithms": ["RS256"],
        "groups": "$.repository_id",
        "max_lifetime": "1h",
    },
    # https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
    "kubernetes": {
        "groups": "$['kubernetes.io'].namespace",
        "subjects": ["system:serviceaccount:*:*"],
    },
}
#: Anyone on GitHub can have a token made for any audience; names of owners and repositories can change hands.
_GITHUB_IDENTITIES = ("repository_id", "repository_owner_id", "enterprise_id")


def preset_issuer(settings: IssuerSettings) -> str:
    """The `iss` that the preset of *settings* brings; empty where it brings none."""
    return str(_PRESETS.get(settings.preset or "", {}).get("issuer", ""))


def with_preset(settings: IssuerSettings) -> IssuerSettings:
    """*settings* with what its preset says where the file does not. Raises `SettingError`."""
    if settings.preset is None:
        return settings
    preset = _PRESETS[settings.preset]
    if settings.preset == "github-actions":
        named = [name for name in _GITHUB_IDENTITIES if name in settings.require]
        if not named:
            raise SettingError(
                "anyone on GitHub can have a token made for your audience: require one of "
                f"{', '.join(_GITHUB_IDENTITIES)} (the numeric ids; names can change hands)",
                "require",
            )
        for name in named:
            values = settings.require[name]
            if not all(isinstance(value, str) for value in (values if isinstance(values, list) else [values])):
                raise SettingError("GitHub's ids are texts in its tokens; put the number into quotes", "require", name)
    return settings.model_copy(update={k: v for k, v in preset.items() if k not in settings.model_fields_set})
