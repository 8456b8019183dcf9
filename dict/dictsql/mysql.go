package dictsql

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/roost-mail/roost/dict"
)

func openMySQL(connect string) (*engine, error) {
	pairs, err := parseConnect(connect)
	if err != nil {
		return nil, err
	}
	s := mysqlSettings{port: "3306", verify: true, cfg: mysql.NewConfig()}
	for _, p := range pairs {
		if err := s.set(p[0], p[1]); err != nil {
			return nil, fmt.Errorf("connect: %s: %w", p[0], err)
		}
	}
	connector, err := s.connector()
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	e := &engine{
		where: fmt.Sprintf("MySQL %s, database %s", strings.Join(connector.addrs, ","), s.cfg.DBName),
		db:    sql.OpenDB(connector), isolation: sql.LevelSerializable, forUpdate: " FOR UPDATE",
		sum:  "COALESCE(SUM(CRC32(CONCAT_WS(0x00, %s))), 0)",
		kind: mysqlKind,
	}
	e.limit()
	return e, nil
}

// mysqlSettings are what a connect line has said so far.
type mysqlSettings struct {
	cfg           *mysql.Config
	hosts         []string
	port          string
	ca, cert, key string
	verify        bool
}

func (s *mysqlSettings) set(name, value string) (err error) {
	switch name {
	case "host":
		s.hosts = append(s.hosts, value)
	case "port":
		_, err = strconv.ParseUint(value, 10, 16)
		s.port = value
	case "dbname":
		s.cfg.DBName = value
	case "user":
		s.cfg.User = value
	case "password":
		s.cfg.Passwd = value
	case "connect_timeout":
		s.cfg.Timeout, err = seconds(value)
	case "read_timeout":
		s.cfg.ReadTimeout, err = seconds(value)
	case "write_timeout":
		s.cfg.WriteTimeout, err = seconds(value)
	case "ssl_ca":
		s.ca = value
	case "ssl_cert":
		s.cert = value
	case "ssl_key":
		s.key = value
	case "ssl_verify_server_cert":
		s.verify = value == "yes"
	case "client_flags": // of the C library
	default:
		return errors.New("this is not known: host, port, dbname, user, password, *_timeout and ssl_* are")
	}
	return err
}

func seconds(s string) (time.Duration, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	return time.Duration(n) * time.Second, err
}

func (s *mysqlSettings) connector() (*inTurn, error) {
	if s.cfg.DBName == "" {
		return nil, errors.New("there is no dbname")
	}
	if len(s.hosts) == 0 {
		s.hosts = []string{"localhost"}
	}
	if err := s.secure(); err != nil {
		return nil, err
	}
	s.cfg.InterpolateParams = true // one round trip instead of three
	// Without it the server would cut keys that are too long, and make others of them.
	s.cfg.Params = map[string]string{"sql_mode": "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"}
	s.cfg.Logger = &mysql.NopLogger{}
	all := &inTurn{}
	for _, host := range s.hosts {
		cfg := s.cfg.Clone()
		cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(strings.Trim(host, "[]"), s.port)
		if strings.HasPrefix(host, "/") {
			cfg.Net, cfg.Addr = "unix", host
		}
		c, err := mysql.NewConnector(cfg)
		if err != nil {
			return nil, err
		}
		all.addrs, all.connectors = append(all.addrs, cfg.Addr), append(all.connectors, c)
	}
	return all, nil
}

// secure has connections encrypted if there is an authority or a certificate.
func (s *mysqlSettings) secure() error {
	if s.ca == "" && s.cert == "" {
		return nil
	}
	t := &tls.Config{InsecureSkipVerify: !s.verify, MinVersion: tls.VersionTLS12}
	if s.ca != "" {
		pem, err := os.ReadFile(s.ca)
		if err != nil {
			return err
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s holds no certificate", s.ca)
		}
	}
	if s.cert != "" {
		pair, err := tls.LoadX509KeyPair(s.cert, s.key)
		if err != nil {
			return err
		}
		t.Certificates = []tls.Certificate{pair}
	}
	s.cfg.TLS = t
	return nil
}

// inTurn connects to the first of several servers that is there.
type inTurn struct {
	addrs      []string
	connectors []sqldriver.Connector
}

// Connect implements sqldriver.Connector.
func (t *inTurn) Connect(ctx context.Context) (sqldriver.Conn, error) {
	var errs []error
	for _, c := range t.connectors {
		conn, err := c.Connect(ctx)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// Driver implements sqldriver.Connector.
func (t *inTurn) Driver() sqldriver.Driver { return t.connectors[0].Driver() }

func mysqlKind(err error) error {
	var e *mysql.MySQLError
	if !errors.As(err, &e) {
		return nil
	}
	switch e.Number {
	case 1213, 1205, 1062, 1020: // deadlock, wait for a lock, inserted or changed by another
		return dict.ErrBusy
	case 1406, 1071: // too long for the column, for the index
		return dict.ErrInvalid
	}
	return nil
}
