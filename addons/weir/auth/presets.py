"""Presets for machine issuers with a fixed token format: default settings, and settings that must be present."""

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
#: GitHub issues a token for any audience to anyone, and names of owners and repositories can change hands.
_GITHUB_IDENTITIES = ("repository_id", "repository_owner_id", "enterprise_id")


def preset_issuer(settings: IssuerSettings) -> str:
    """Return the ``iss`` that the preset of *settings* provides; empty if it provides none."""
    return str(_PRESETS.get(settings.preset or "", {}).get("issuer", ""))


def with_preset(settings: IssuerSettings) -> IssuerSettings:
    """Return *settings* with the preset's values for keys that the file does not set. Raises `SettingError`."""
    if settings.preset is None:
        return settings
    preset = _PRESETS[settings.preset]
    if settings.preset == "github-actions":
        named = [name for name in _GITHUB_IDENTITIES if name in settings.require]
        if not named:
            raise SettingError(
                "anyone on GitHub can get a token for your audience: require one of "
                f"{', '.join(_GITHUB_IDENTITIES)} (numeric ids, because names can change hands)",
                "require",
            )
        for name in named:
            values = settings.require[name]
            if not all(isinstance(value, str) for value in (values if isinstance(values, list) else [values])):
                raise SettingError("GitHub's ids are strings in its tokens; put the number in quotes", "require", name)
    return settings.model_copy(update={k: v for k, v in preset.items() if k not in settings.model_fields_set})
