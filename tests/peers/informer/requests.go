package main

import (
	"net/http"
	"sync"
)

// What went over the wire: how informers ask is part of what is tested.
type requests struct {
	lock  sync.Mutex
	count map[string]int
}

type counted struct {
	requests *requests
	next     http.RoundTripper
}

func (r *requests) wrap(next http.RoundTripper) http.RoundTripper {
	return &counted{r, next}
}

func (r *requests) add(what string) {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.count == nil {
		r.count = map[string]int{}
	}
	r.count[what]++
}

func (r *requests) counts() map[string]int {
	r.lock.Lock()
	defer r.lock.Unlock()
	copied := map[string]int{}
	for what, count := range r.count {
		copied[what] = count
	}
	return copied
}

func (c *counted) RoundTrip(request *http.Request) (*http.Response, error) {
	query := request.URL.Query()
	kind := ""
	switch {
	case query.Get("sendInitialEvents") == "true":
		kind = "watchList"
	case query.Get("watch") == "true" || query.Get("watch") == "1":
		kind = "watch"
	// A list of the test itself names no revision.
	case request.Method == http.MethodGet && query.Get("resourceVersion") != "":
		kind = "list"
	}
	response, err := c.next.RoundTrip(request)
	if kind == "" {
		return response, err
	}
	switch {
	case err != nil:
		c.requests.add(kind + "Failed")
	case response.StatusCode == http.StatusOK:
		c.requests.add(kind)
	case response.StatusCode == http.StatusGone:
		c.requests.add(kind + "Gone")
	default:
		c.requests.add(kind + "Refused")
	}
	return response, err
}
