// Command s3 is versitygw, an S3 server whose objects are files, for tests: signatures are checked
// and conditional writes are kept. Its buckets are the folders of a directory; its key is "key" with
// the secret "secret". It prints a line once it listens.
//
//	s3 ADDRESS DIRECTORY SIDECAR
package main

import (
	"fmt"
	"os"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
)

func run(address, dir, side string) error {
	attributes, err := meta.NewSideCar(side)
	if err != nil {
		return err
	}
	files, err := posix.New(dir, attributes, posix.PosixOpts{SideCarDir: side})
	if err != nil {
		return err
	}
	root := auth.Account{Access: "key", Secret: "secret", Role: auth.RoleAdmin}
	server, err := s3api.New(
		files,
		middlewares.RootUserConfig{Access: root.Access, Secret: root.Secret},
		"us-east-1",
		auth.NewIAMServiceSingle(root),
		nil, nil, nil, nil,
		s3api.WithQuiet(),
		s3api.WithKeepAlive(),
		s3api.WithConcurrencyLimiter(1000, 1000),
		s3api.WithMpMaxParts(10000),
		s3api.WithOnListen(func() { fmt.Println("listens at " + address) }),
	)
	if err != nil {
		return err
	}
	return server.ServeMultiPort([]string{address})
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: s3 ADDRESS DIRECTORY SIDECAR")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
