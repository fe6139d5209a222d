// Judges manifests by the code of Kubernetes itself, as an API server does before it stores them:
// strict decoding, defaults, the validation of each kind, the warnings about its pods, and Pod
// Security's level "restricted". What needs a cluster is not tried: other admission, quotas, names.
//
//	admission FILE...
//
// It prints what is wrong, and exits with 1 if anything is, or if it has judged nothing.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	v1 "k8s.io/kubernetes/pkg/apis/core/v1"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	networkingvalidation "k8s.io/kubernetes/pkg/apis/networking/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"
	"k8s.io/pod-security-admission/api"
	security "k8s.io/pod-security-admission/policy"
)

const namespace = "ads"

func main() {
	found, judged := []string{}, 0
	for _, name := range os.Args[1:] {
		file, err := os.Open(name)
		if err != nil {
			fmt.Println(err)
			os.Exit(2)
		}
		reader := yaml.NewYAMLReader(bufio.NewReader(file))
		for {
			text, err := reader.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				found = append(found, fmt.Sprintf("%s: %v", name, err))
				break
			}
			wrong, known := judge(text)
			if known {
				judged++
			}
			for _, each := range wrong {
				found = append(found, fmt.Sprintf("%s: %s", filepath.Base(name), each))
			}
		}
	}
	for _, each := range found {
		fmt.Println(each)
	}
	fmt.Printf("%d resources judged, %d findings\n", judged, len(found))
	if len(found) > 0 || judged == 0 {
		os.Exit(1)
	}
}

// judge returns what is wrong with a resource, and whether its kind is Kubernetes' own.
func judge(text []byte) ([]string, bool) {
	codecs := serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict)
	decoded, _, err := codecs.UniversalDecoder().Decode(text, nil, nil)
	if runtime.IsNotRegisteredError(err) {
		return nil, false // a kind that a custom resource brings: its own schema judges it
	}
	if err != nil {
		return []string{err.Error()}, true
	}
	accessor, err := meta.Accessor(decoded)
	if err != nil {
		return []string{err.Error()}, true
	}
	accessor.SetNamespace(namespace)
	title := fmt.Sprintf("%T %s", decoded, accessor.GetName())
	refused, template := validated(decoded)
	wrong := []string{}
	for _, each := range refused {
		wrong = append(wrong, fmt.Sprintf("%s: %v", title, each))
	}
	if template != nil {
		wrong = append(wrong, podOf(title, template)...)
	}
	return wrong, true
}

// validated returns what the validation of the kind refuses, and the template of the pods that it makes.
func validated(decoded runtime.Object) (field.ErrorList, *core.PodTemplateSpec) {
	switch one := decoded.(type) {
	case *apps.Deployment:
		options := podutil.GetValidationOptionsFromPodTemplate(&one.Spec.Template, nil)
		return appsvalidation.ValidateDeployment(one, options), &one.Spec.Template
	case *apps.StatefulSet:
		options := podutil.GetValidationOptionsFromPodTemplate(&one.Spec.Template, nil)
		return appsvalidation.ValidateStatefulSet(one, appsvalidation.StatefulSetValidationOptions{}, options), &one.Spec.Template
	case *core.ConfigMap:
		return corevalidation.ValidateConfigMap(one), nil
	case *core.Service:
		if one.Spec.ClusterIP == core.ClusterIPNone {
			one.Spec.ClusterIPs = []string{core.ClusterIPNone} // the server's store does this first
		}
		return corevalidation.ValidateServiceCreate(one), nil
	case *core.ServiceAccount:
		return corevalidation.ValidateServiceAccount(one), nil
	case *networking.NetworkPolicy:
		return networkingvalidation.ValidateNetworkPolicy(one, networkingvalidation.NetworkPolicyValidationOptions{}), nil
	case *policy.PodDisruptionBudget:
		return policyvalidation.ValidatePodDisruptionBudget(one, policyvalidation.PodDisruptionBudgetValidationOptions{}), nil
	}
	return field.ErrorList{field.Forbidden(nil, fmt.Sprintf("%T is not known to this program", decoded))}, nil
}

// podOf judges the pod that a workload makes.
func podOf(title string, template *core.PodTemplateSpec) []string {
	wrong := []string{}
	for _, warning := range podutil.GetWarningsForPodTemplate(context.Background(), field.NewPath("spec", "template"), template, nil) {
		wrong = append(wrong, fmt.Sprintf("%s: warning: %s", title, warning))
	}
	external := corev1.PodSpec{}
	if err := v1.Convert_core_PodSpec_To_v1_PodSpec(&template.Spec, &external, nil); err != nil {
		return append(wrong, err.Error())
	}
	evaluator, err := security.NewEvaluator(security.DefaultChecks(), nil)
	if err != nil {
		return append(wrong, err.Error())
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for _, each := range evaluator.EvaluatePod(level, &template.ObjectMeta, &external) {
		if !each.Allowed {
			wrong = append(wrong, fmt.Sprintf("%s: Pod Security restricted: %s: %s", title, each.ForbiddenReason, each.ForbiddenDetail))
		}
	}
	return wrong
}
