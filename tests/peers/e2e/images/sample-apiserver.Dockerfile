FROM localhost/e2e/debian
COPY sample-apiserver /sample-apiserver
ENTRYPOINT ["/sample-apiserver"]
