"""Copy files between a container's tree and the host: each name is looked up inside its own root.

A tree is read and written by open directories (image/confine.py), so that no link in it, and none
that the container makes meanwhile, leads out of it. Owners are not kept, since all files are the
caller's, and set-user-ID bits and devices are dropped, as where a layer is unpacked.
"""
