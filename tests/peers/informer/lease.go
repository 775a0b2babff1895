package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// Three candidates; whoever leads gives up after a moment, until each has led once. At no time
// do two lead.
func compete(config *rest.Config, namespace string) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var lock sync.Mutex
	var leaders []string
	leading, together := 0, 0
	var wait sync.WaitGroup
	for _, name := range []string{"a", "b", "c"} {
		wait.Add(1)
		go func() {
			defer wait.Done()
			own, resign := context.WithCancel(ctx)
			defer resign()
			leaderelection.RunOrDie(own, leaderelection.LeaderElectionConfig{
				Lock: &resourcelock.LeaseLock{
					LeaseMeta:  metav1.ObjectMeta{Name: "elected", Namespace: namespace},
					Client:     client.CoordinationV1(),
					LockConfig: resourcelock.ResourceLockConfig{Identity: name},
				},
				ReleaseOnCancel: true,
				LeaseDuration:   4 * time.Second,
				RenewDeadline:   3 * time.Second,
				RetryPeriod:     200 * time.Millisecond,
				Callbacks: leaderelection.LeaderCallbacks{
					OnStartedLeading: func(context.Context) {
						lock.Lock()
						leaders = append(leaders, name)
						leading++
						if leading > 1 {
							together++
						}
						lock.Unlock()
						time.Sleep(time.Second)
						lock.Lock()
						leading--
						lock.Unlock()
						resign()
					},
					OnStoppedLeading: func() {},
				},
			})
		}()
	}
	wait.Wait()
	lease, err := client.CoordinationV1().Leases(namespace).Get(context.Background(), "elected", metav1.GetOptions{})
	if err != nil {
		return err
	}
	text, err := json.Marshal(map[string]any{
		"leaders": leaders, "together": together, "transitions": lease.Spec.LeaseTransitions,
		"holder": lease.Spec.HolderIdentity,
	})
	if err != nil {
		return err
	}
	fmt.Println(string(text))
	return nil
}
