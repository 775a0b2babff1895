package main

import (
	"context"
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// One informer, what its handler was told, and a list to hold its cache against.
type follower struct {
	name     string
	informer cache.SharedIndexInformer
	list     func(context.Context) (runtime.Object, error)

	lock                    sync.Mutex
	adds, updates, deletes  int
	resyncs, unknownDeletes int
	faults                  []string
	// From events alone: name to "uid/revision".
	told map[string]string
}

// What one informer came to.
type outcome struct {
	Adds, Updates, Deletes, Resyncs, UnknownDeletes int
	Objects                                         int
	Equal                                           bool
	Difference                                      string   `json:",omitempty"`
	Faults                                          []string `json:",omitempty"`
}

func follow(ctx context.Context, config *rest.Config, namespace, custom string) ([]*follower, error) {
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	untyped, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	partial, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	factory := informers.NewSharedInformerFactoryWithOptions(typed, 0, informers.WithNamespace(namespace))
	secrets := schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	slim := metadatainformer.NewFilteredSharedInformerFactory(partial, 0, namespace, nil)
	followers := []*follower{
		{name: "configmaps", informer: factory.Core().V1().ConfigMaps().Informer(), list: func(ctx context.Context) (runtime.Object, error) {
			return typed.CoreV1().ConfigMaps(namespace).List(ctx, metav1.ListOptions{})
		}},
		{name: "pods", informer: factory.Core().V1().Pods().Informer(), list: func(ctx context.Context) (runtime.Object, error) {
			return typed.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		}},
		{name: "metadata", informer: slim.ForResource(secrets).Informer(), list: func(ctx context.Context) (runtime.Object, error) {
			return partial.Resource(secrets).Namespace(namespace).List(ctx, metav1.ListOptions{})
		}},
	}
	if parts := strings.Split(custom, "/"); len(parts) == 3 {
		resource := schema.GroupVersionResource{Group: parts[0], Version: parts[1], Resource: parts[2]}
		loose := dynamicinformer.NewFilteredDynamicSharedInformerFactory(untyped, 0, namespace, nil)
		followers = append(followers, &follower{name: "custom", informer: loose.ForResource(resource).Informer(), list: func(ctx context.Context) (runtime.Object, error) {
			return untyped.Resource(resource).Namespace(namespace).List(ctx, metav1.ListOptions{})
		}})
	}
	for _, f := range followers {
		f.told = map[string]string{}
		if _, err := f.informer.AddEventHandler(f.handler()); err != nil {
			return nil, err
		}
		go f.informer.RunWithContext(ctx)
	}
	for _, f := range followers {
		if !cache.WaitForCacheSync(ctx.Done(), f.informer.HasSynced) {
			return nil, fmt.Errorf("%s did not sync", f.name)
		}
	}
	return followers, nil
}

func (f *follower) handler() cache.ResourceEventHandlerFuncs {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) {
			f.lock.Lock()
			defer f.lock.Unlock()
			f.adds++
			name, id := identity(object)
			if _, there := f.told[name]; there {
				f.fault("added twice: %s", name)
			}
			f.told[name] = id
		},
		UpdateFunc: func(old, object any) {
			f.lock.Lock()
			defer f.lock.Unlock()
			name, id := identity(object)
			_, before := identity(old)
			if f.told[name] != before {
				f.fault("updated from what it was not: %s", name)
			}
			if id == before {
				f.resyncs++
			} else {
				f.updates++
			}
			if revision(id) < revision(before) {
				f.fault("went back: %s from %s to %s", name, before, id)
			}
			f.told[name] = id
		},
		DeleteFunc: func(object any) {
			f.lock.Lock()
			defer f.lock.Unlock()
			f.deletes++
			if final, unknown := object.(cache.DeletedFinalStateUnknown); unknown {
				f.unknownDeletes++
				object = final.Obj
			}
			name, _ := identity(object)
			if _, there := f.told[name]; !there {
				f.fault("deleted but never added: %s", name)
			}
			delete(f.told, name)
		},
	}
}

func (f *follower) fault(format string, arguments ...any) {
	if len(f.faults) < 20 {
		f.faults = append(f.faults, fmt.Sprintf(format, arguments...))
	}
}

// Waits until handler, cache and list agree, or says how they differ.
func (f *follower) settle(ctx context.Context, limit time.Duration) outcome {
	var difference string
	for begin := time.Now(); time.Since(begin) < limit; time.Sleep(50 * time.Millisecond) {
		if difference = f.differs(ctx); difference == "" {
			break
		}
	}
	f.lock.Lock()
	defer f.lock.Unlock()
	return outcome{
		Adds: f.adds, Updates: f.updates, Deletes: f.deletes, Resyncs: f.resyncs, UnknownDeletes: f.unknownDeletes,
		Objects: len(f.told), Equal: difference == "", Difference: difference, Faults: f.faults,
	}
}

func (f *follower) differs(ctx context.Context) string {
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	list, err := f.list(limited)
	if err != nil {
		return "list: " + err.Error()
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		return "list: " + err.Error()
	}
	listed, cached := map[string]string{}, map[string]string{}
	whole := map[string]runtime.Object{}
	for _, item := range items {
		name, id := identity(item)
		listed[name], whole[name] = id, item
	}
	for _, object := range f.informer.GetStore().List() {
		name, id := identity(object)
		cached[name] = id
		if listed[name] == id && !same(object, whole[name]) {
			return fmt.Sprintf("%s has another content in the cache", name)
		}
	}
	f.lock.Lock()
	defer f.lock.Unlock()
	for what, have := range map[string]map[string]string{"cache": cached, "events": f.told} {
		if text := compare(have, listed); text != "" {
			return what + ": " + text
		}
	}
	return ""
}

// Items of a list carry no kind, those of a watch do.
func same(cached any, listed runtime.Object) bool {
	left, ok := cached.(runtime.Object)
	if !ok {
		return false
	}
	left, right := left.DeepCopyObject(), listed.DeepCopyObject()
	for _, object := range []runtime.Object{left, right} {
		object.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	}
	return reflect.DeepEqual(left, right)
}

func compare(have, want map[string]string) string {
	var differences []string
	for name, id := range want {
		if have[name] != id {
			differences = append(differences, fmt.Sprintf("%s is %q, listed %q", name, have[name], id))
		}
	}
	for name := range have {
		if _, there := want[name]; !there {
			differences = append(differences, name+" is not listed")
		}
	}
	sort.Strings(differences)
	if len(differences) > 5 {
		differences = append(differences[:5], fmt.Sprintf("and %d more", len(differences)-5))
	}
	return strings.Join(differences, "; ")
}

func identity(object any) (string, string) {
	accessor, err := meta.Accessor(object)
	if err != nil {
		return "?", err.Error()
	}
	return accessor.GetName(), string(accessor.GetUID()) + "/" + accessor.GetResourceVersion()
}

func revision(id string) uint64 {
	number, _ := strconv.ParseUint(id[strings.LastIndex(id, "/")+1:], 10, 64)
	return number
}
