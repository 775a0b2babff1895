FROM localhost/e2e/debian
USER 1234
CMD ["/bin/sh"]
