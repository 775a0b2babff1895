FROM localhost/e2e/debian
COPY etcd /usr/local/bin/etcd
CMD ["/usr/local/bin/etcd"]
