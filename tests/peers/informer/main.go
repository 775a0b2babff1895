// Command informer is a client-go program of the kind that controllers are made of.
//
// "informer watch" keeps shared informers (typed, dynamic, metadata-only) over one namespace and
// says "synced" once all have their first state. Told "settle" on standard input it waits until
// every cache is what a list returns and prints one line of JSON: the events each informer
// handed on, what was wrong with them, and the requests it took. "informer lease" lets three
// candidates compete for one Lease.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: informer watch|lease -kubeconfig FILE -namespace NAME"))
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "file that names the server")
	namespace := flags.String("namespace", "default", "what is watched")
	custom := flags.String("custom", "", "group/version/resource of a custom resource")
	_ = flags.Parse(os.Args[2:])
	klog.SetOutput(io.Discard)
	klog.LogToStderr(false)

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	fail(err)
	config.QPS, config.Burst = 1000, 1000
	config.UserAgent = "informer"
	requests := &requests{}
	config.Wrap(requests.wrap)

	switch os.Args[1] {
	case "watch":
		fail(watchAll(config, requests, *namespace, *custom))
	case "lease":
		fail(compete(config, *namespace))
	default:
		fail(fmt.Errorf("unknown command %q", os.Args[1]))
	}
}

func watchAll(config *rest.Config, requests *requests, namespace, custom string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	followers, err := follow(ctx, config, namespace, custom)
	if err != nil {
		return err
	}
	fmt.Println("synced")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if lines.Text() != "settle" {
			continue
		}
		report := map[string]any{"requests": requests.counts()}
		for _, f := range followers {
			report[f.name] = f.settle(ctx, 30*time.Second)
		}
		text, err := json.Marshal(report)
		if err != nil {
			return err
		}
		fmt.Println(string(text))
	}
	return nil
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
