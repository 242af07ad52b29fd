"""From a downloaded file to frames: probe, cut, decode, augment. Files are taken for hostile until proved harmless."""
