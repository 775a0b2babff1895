FROM localhost/e2e/debian
RUN ln -s agnhost /agnhost-2 && mkdir /uploads \
 && useradd --uid 1000 user-defined-in-image \
 && groupadd --gid 50000 group-defined-in-image \
 && usermod --append --groups group-defined-in-image user-defined-in-image
COPY localhost.crt localhost.key agnhost /
EXPOSE 80 8080 8081 9376 5000
ENTRYPOINT ["/agnhost"]
CMD ["pause"]
