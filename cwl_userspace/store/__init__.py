"""The rootfs cache: blobs by digest, names, and flattened trees keyed by their layers."""
