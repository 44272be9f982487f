"""Where images come from: registries, archives, layouts, tarballs; and how a layer is applied."""
