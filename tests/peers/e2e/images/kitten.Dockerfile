FROM localhost/e2e/agnhost
COPY kitten/html/kitten.jpg kitten/html/data.json /
CMD ["test-webserver"]
