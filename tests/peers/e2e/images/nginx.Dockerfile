FROM localhost/e2e/debian
EXPOSE 80
CMD ["nginx", "-g", "daemon off;"]
