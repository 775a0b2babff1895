FROM localhost/e2e/debian
COPY --chmod=4755 nnp /usr/local/bin/nnp
CMD ["nnp"]
