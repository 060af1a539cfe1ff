"""``weir bundle``: the path of the file that mitmdump loads."""

from pathlib import Path

import weir

#: The script with the gateway's addons, in the package that is running.
BUNDLE = Path(weir.__file__).resolve().with_name("bundle.py")


def bundle() -> None:
    """Print the path of the script that mitmdump loads, in the installed package.

    [bold]Examples[/]

      mitmdump --no-server --set weir_listen=true -s "$(weir bundle)"
    """
    print(BUNDLE)
