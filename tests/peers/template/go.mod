module peers/template

go 1.26.0
