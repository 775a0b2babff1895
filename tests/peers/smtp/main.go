// Command smtp is a mail server for tests: it takes mail from one user, "u" with the password "p",
// and writes each mail as a line of JSON to standard output. Its first line is its address.
//
//	smtp (plain|starttls|tls) CERTIFICATE KEY
package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

type mail struct {
	From    string   `json:"from"`
	To      []string `json:"to"`
	Content string   `json:"content"`
	User    string   `json:"user"`
	Way     string   `json:"way"`
	Private bool     `json:"private"`
}

type server struct{ mutex sync.Mutex }

type session struct {
	server *server
	conn   *smtp.Conn
	mail   mail
}

func (s *server) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &session{server: s, conn: c}, nil
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain, sasl.Login} }

func (s *session) Auth(way string) (sasl.Server, error) {
	check := func(user, password string) error {
		if user != "u" || password != "p" {
			return smtp.ErrAuthFailed
		}
		s.mail.User, s.mail.Way = user, way
		return nil
	}
	switch way {
	case sasl.Plain:
		return sasl.NewPlainServer(func(_, user, password string) error { return check(user, password) }), nil
	case sasl.Login:
		return &login{check: check}, nil
	}
	return nil, errors.New("unknown way")
}

type login struct {
	check func(user, password string) error
	user  *string
	asked bool
}

func (l *login) Next(said []byte) ([]byte, bool, error) {
	switch {
	case !l.asked:
		l.asked = true
		return []byte("Username:"), false, nil
	case l.user == nil:
		user := string(said)
		l.user = &user
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(*l.user, string(said))
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if s.mail.User == "" {
		return smtp.ErrAuthRequired
	}
	s.mail.From, s.mail.To = from, nil
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if to == "nobody@example.com" {
		return &smtp.SMTPError{Code: 550, Message: "no such user"}
	}
	s.mail.To = append(s.mail.To, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.mail.Content = string(content)
	_, s.mail.Private = s.conn.TLSConnectionState()
	s.server.mutex.Lock()
	defer s.server.mutex.Unlock()
	return json.NewEncoder(os.Stdout).Encode(s.mail)
}

func (s *session) Reset() {}

func (s *session) Logout() error { return nil }

func run() error {
	kind := os.Args[1]
	pair, err := tls.LoadX509KeyPair(os.Args[2], os.Args[3])
	if err != nil {
		return err
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	s := smtp.NewServer(&server{})
	s.Domain = "localhost"
	s.ReadTimeout, s.WriteTimeout = time.Minute, time.Minute
	s.AllowInsecureAuth = kind == "plain"
	switch kind {
	case "starttls":
		s.TLSConfig = config
	case "tls":
		listener = tls.NewListener(listener, config)
	}
	return s.Serve(listener)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
