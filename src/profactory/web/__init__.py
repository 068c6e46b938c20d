"""The web page. Import :mod:`profactory.web.server`; nothing here imports torch.

The page reads run directories and starts commands as jobs of their own, so that a closed tab, a second one or
a restart of the server changes nothing for them.
"""
