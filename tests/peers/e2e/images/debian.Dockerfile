# Every tool that the specs expect beside agnhost, in one root that all images share.
FROM scratch
ADD debian.tar /
