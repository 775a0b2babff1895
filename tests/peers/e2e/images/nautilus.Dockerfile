FROM localhost/e2e/agnhost
COPY nautilus/html/nautilus.jpg nautilus/html/data.json /
CMD ["test-webserver"]
