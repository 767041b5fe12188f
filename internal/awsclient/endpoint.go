package awsclient

import (
	"errors"
	"net/netip"
	"net/url"
)

// CheckEndpoint tells what is wrong with the URL of a service; "" is AWS's own.
// The URL is not in the error: it may hold a password, which it must not.
func CheckEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return errors.New("the endpoint is not a URL of the form https://host:port")
	}
	return nil
}

// Exposed tells whether others may listen on the way to an endpoint: it is plain
// http, and not this host; nobody is asked for its address. "" is AWS's own.
func Exposed(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" {
		return err != nil
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() != "localhost" && (err != nil || !ip.Unmap().IsLoopback())
}
