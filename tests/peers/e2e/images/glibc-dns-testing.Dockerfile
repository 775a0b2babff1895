FROM localhost/e2e/debian
CMD ["/bin/bash"]
