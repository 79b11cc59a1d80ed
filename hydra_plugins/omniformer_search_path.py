"""Lets any Hydra application use OmniFormer's configuration groups, without a path to them."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from omniformer._confpath import conf_dir


class OmniFormerSearchPath(SearchPathPlugin):
    """Appends OmniFormer's `conf` folder: an application's own files of the same name come first."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra when an application starts."""
        path = f"file://{conf_dir()}"
        if all(element.path.removeprefix("file://") != str(conf_dir()) for element in search_path.get_path()):
            search_path.append(provider="omniformer", path=path)
