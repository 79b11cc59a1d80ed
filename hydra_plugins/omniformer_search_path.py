"""Lets any Hydra application use the configuration groups of OmniFormer and its plug-ins, without a path to them."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from omniformer.config.folder import conf_dir
from omniformer.config.plugins import installed


class OmniFormerSearchPath(SearchPathPlugin):
    """Appends OmniFormer's `conf` folder and those of plug-ins: an application's own files come first."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra when an application starts."""
        path = f"file://{conf_dir()}"
        if all(element.path.removeprefix("file://") != str(conf_dir()) for element in search_path.get_path()):
            search_path.append(provider="omniformer", path=path)
        for plugin in installed():
            if plugin.conf is not None:
                search_path.append(provider=plugin.name, path=f"file://{plugin.conf}")
