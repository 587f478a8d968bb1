# SPDX-License-Identifier: GPL-3.0-or-later

"""Simulated patterns of any crystal: structures, master patterns, cameras."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
